<?php
$call = curl_init($argv[1]);
curl_setopt($call, CURLOPT_RETURNTRANSFER, true);
$answer = curl_exec($call);
echo $answer === false ? curl_error($call) : $answer, "\n";
exit($answer === false ? 1 : 0);
