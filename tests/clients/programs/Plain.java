import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** As a program that knows nothing of us: `java Plain.java URL [BODY]`. Prints the status, the version and the body. */
class Plain {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(arguments[0]));
        if (arguments.length > 1) {
            request.POST(HttpRequest.BodyPublishers.ofString(arguments[1]));
        }
        var answer = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.version());
        System.out.println(answer.body());
    }
}
