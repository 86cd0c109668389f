# If the server gives up a client while output is pending, the client gets an
# RST, so that its echo does not look complete. The test runs in a network
# namespace, where the server's send buffer is small.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

my $missing = in_own_network(tcp_wmem => '4096 4096 4096');
plan skip_all => $missing if $missing;

for my $engine (engines()) {
	subtest $engine => sub {
		my $server = start_server($engine, '--stream', '--idle=1s',
		    '--chunk=64k');
		my $sock = dial_small($server);
		# All input is there when the server reads, once.
		kill STOP => $server->processes;
		ok put($sock, 'z' x 50_000), 'the message is sent';
		kill CONT => $server->processes;
		ok $server->wait_log(qr/ closed after .*: idle; \d+ bytes? not/),
		    'the server gives the client up';
		my ($back, $end) = get_all($sock);
		isnt $end, 'eof', 'the client does not see an end of file';
		cmp_ok length $back, '<', 50_000, 'the echo is cut';
		close $sock;
		$server->stop;
	};
}

done_testing;
