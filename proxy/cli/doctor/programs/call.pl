use HTTP::Tiny;
my $answer = HTTP::Tiny->new(verify_SSL => 1, timeout => 15)->get($ARGV[0]);
print "$answer->{status} $answer->{content}\n";
exit($answer->{success} ? 0 : 1);
