import java.io.InputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** One call: `Call.java client|connection URL [authenticator]`. */
class Call {
    public static void main(String[] arguments) throws Exception {
        URI target = URI.create(arguments[1]);
        Authenticator authenticator = arguments.length > 2 ? fromEnvironment() : null;
        if (arguments[0].equals("client")) {
            HttpClient.Builder builder = HttpClient.newBuilder();
            if (authenticator != null) {
                builder.authenticator(authenticator);
            }
            HttpRequest request = HttpRequest.newBuilder(target).build();
            System.out.println(builder.build().send(request, HttpResponse.BodyHandlers.ofString()).body());
            return;
        }
        if (authenticator != null) {
            Authenticator.setDefault(authenticator);
        }
        HttpURLConnection connection = (HttpURLConnection) target.toURL().openConnection();
        try (InputStream answer = connection.getInputStream()) {
            System.out.println(new String(answer.readAllBytes()));
        }
    }

    private static Authenticator fromEnvironment() {
        String[] pair = URI.create(System.getenv("HTTPS_PROXY")).getUserInfo().split(":", 2);
        return new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(pair[0], pair[1].toCharArray());
            }
        };
    }
}
