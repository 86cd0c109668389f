# Each mode once, on each engine. The other tests have a meaning only if these
# tests pass. They are short enough for make valgrind.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

like run_echo('--version')->{out}, qr/^echo \d/, 'echo --version works';

sub smoke {
	my @options = @_;
	my $server = start_server(@options, '--drain=300ms');
	for my $message ('', 'x', pattern(100000)) {
		is_bytes scalar exchange(dial($server), $message, undef,
		    half_close => 1), $message,
		    length($message) . ' bytes come back';
	}
	my $run = run_echo('send', '-a', $server->address, 'hello');
	is "$run->{status} $run->{out}", "0 hello\n", 'echo send succeeds';
	$run = run_echo('check', '--profile=homework', $server->address);
	is $run->{status}, 0, 'echo check finds no fault';
	# The server ends even if a client does not read its pending output.
	my $pending = dial($server);
	put($pending, 'x' x 100000);
	$server->stop;
}

for my $engine (engines()) {
	subtest "$engine --message" => sub { smoke($engine, '--message') };
	subtest "$engine --stream" => sub { smoke($engine, '--stream') };
}

SKIP: {
	skip 'there is no services database', 1 unless getservbyport 22, 'tcp';
	like run_echo('ports', '22')->{out}, qr/^22\/tcp  ssh/m,
	    'echo ports lists ssh';
}

is run_echo('serve', '--port=65536')->{status}, 2,
    'a port beyond 65535 is a usage error';

done_testing;
