# A client that the server gives up while output is pending gets an RST, so that
# its echo does not look complete. In a network namespace, where the server's
# send buffer is small.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(AF_INET INADDR_LOOPBACK SOCK_STREAM SOL_SOCKET SO_RCVBUF
    pack_sockaddr_in);
use Test::More;

my @namespace = ('unshare', $> == 0 ? '-n' : '-rn');
plan skip_all => 'no network namespace to be had here'
    if run_command(@namespace, 'true')->{status} != 0;
unless ($ENV{ECHO_TEST_NAMESPACE}) {
	$ENV{ECHO_TEST_NAMESPACE} = 1;
	exec @namespace, $^X, $0 or die $!;
}
run_command('ip', 'link', 'set', 'lo', 'up')->{status} == 0 &&
    open my $wmem, '>', '/proc/sys/net/ipv4/tcp_wmem'
    or plan skip_all => 'the send buffer cannot be set here';
print $wmem "4096 4096 4096\n";
close $wmem or plan skip_all => 'the send buffer cannot be set here';

# A connection with a small receive buffer.
sub dial_small {
	my ($server) = @_;
	socket my $sock, AF_INET, SOCK_STREAM, 0 or die $!;
	setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 2048 or die $!;
	connect $sock, pack_sockaddr_in($server->port, INADDR_LOOPBACK)
	    or die $!;
	$sock->blocking(0);
	return $sock;
}

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
