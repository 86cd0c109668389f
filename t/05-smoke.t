# Each mode once, on each engine: what has to work before anything else is
# worth a look, and short enough for make valgrind.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

like run_echo('--version')->{out}, qr/^echo \d/, 'echo --version';

for my $engine (engines()) {
	for my $end ('--message', '--stream') {
		my $server = start_server($engine, $end, '--drain=300ms');
		for my $message ('', 'x', pattern(100000)) {
			is exchange(dial($server), $message, undef,
			    half_close => 1), $message,
			    "$engine $end: " . length($message) . ' bytes';
		}
		my $run = run_echo('send', '-a', $server->address, 'hello');
		is "$run->{status} $run->{out}", "0 hello\n",
		    "$engine $end: echo send";
		$run = run_echo('check', '--profile=homework',
		    $server->address);
		is $run->{status}, 0, "$engine $end: echo check" or
		    diag $run->{out}, $run->{err};
		my $owed = dial($server);
		put($owed, 'x' x 100000);
		$server->stop;
	}
}

SKIP: {
	skip 'no services database here', 1 unless getservbyport 22, 'tcp';
	like run_echo('ports', '22')->{out}, qr/^22\/tcp  ssh/m, 'echo ports';
}

my $run = run_echo('serve', '--port=65536');
is $run->{status}, 2, 'a usage error';

done_testing;
