# UDP: every datagram comes back once and whole, whatever its size and however
# many there are, with every engine, and TCP clients are served meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Datagrams;
use EchoTest;
use IO::Select ();
use IO::Socket::IP ();
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(time);

my $BURST = 1000;
my $PORTS = 10_000;

sub udp_server {
	my ($engine, @more) = @_;
	return start_server($engine, '-a', 'udp:127.0.0.1', @more);
}

sub test_sizes {
	my ($server) = @_;
	my $sock = udp($server->address);
	for my $size (0, 1, 15, 16, 1472, 1473, 2048, 2049, 8192, 8193, 9000,
	    65507) {
		my $bytes = pattern($size);
		is_bytes ask($sock, $bytes), $bytes, "$size bytes come back";
	}
}

sub test_interleaved {
	my ($server) = @_;
	my @socks = map { udp($server->address) } 1, 2;
	my @got = ('', '');
	for my $i (1 .. 20) {
		send $socks[$_], "client $_, datagram $i", 0 for 0, 1;
	}
	for my $i (1 .. 20) {
		$got[$_] .= (answer($socks[$_]) // 'nothing') . "\n" for 1, 0;
	}
	my @lines = map { [sort split /\n/, $got[$_]] } 0, 1;
	for my $n (0, 1) {
		is_deeply $lines[$n],
		    [sort map { "client $n, datagram $_" } 1 .. 20],
		    "client $n of two gets its own datagrams";
	}
}

sub test_burst {
	my ($server, $in_order) = @_;
	my $room = slurp('/proc/sys/net/core/rmem_max') + 0;
	SKIP: {
		skip 'net.core.rmem_max is below 2 MiB', 1
		    if $room < 2 << 20;
		my $sock = udp($server->address);
		setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 2 << 20;
		send $sock, "number $_", 0 for 1 .. $BURST;
		my @got = map { answer($sock) // 'nothing' } 1 .. $BURST;
		@got = sort { substr($a, 7) <=> substr($b, 7) } @got
		    unless $in_order;
		is join(' ', @got), join(' ', map { "number $_" } 1 .. $BURST),
		    "a burst of $BURST comes back" .
		    ($in_order ? ' in order' : '');
	}
}

# The client has gone when the reply arrives: ICMP port unreachable.
sub test_unreachable {
	my ($server) = @_;
	for (1 .. 50) {
		my $sock = udp($server->address);
		send $sock, 'the client does not wait', 0;
	}
	is ask(udp($server->address), 'next'), 'next',
	    'after 50 ICMP errors the next client is answered';
}

# The sockets are connected, because a socket that is not connected receives what
# any other process sends to its port.
sub test_ports {
	my ($server) = @_;
	my $right = 0;
	for my $first (map { $_ * 250 } 0 .. $PORTS / 250 - 1) {
		my @socks = map { udp($server->address) } 1 .. 250;
		send $socks[$_], 'port ' . ($first + $_), 0 for 0 .. $#socks;
		$right += (answer($socks[$_]) // '') eq
		    'port ' . ($first + $_) for 0 .. $#socks;
	}
	is $right, $PORTS, "$PORTS sockets get their own datagram";
}

sub test_log {
	my ($engine) = @_;
	my $server = udp_server($engine);
	my $sock = udp($server->address);
	my $hostile = "\e[31m\nserved 9 clients, 9 bytes\r\x9b\0";
	is_bytes ask($sock, $hostile), $hostile, 'hostile text comes back';
	ok $server->wait_log(qr/^127\.0\.0\.1:\d+ sent 34 bytes "\\x1b\[31m\\x0aserved 9 clients, 9 bytes\\x0d\\x9b\\x00"$/m),
	    'and is one line of the log, without control characters';
	ask($sock, 'x') for 1 .. 30;
	ok $server->wait_log(qr/^\d+ more datagrams not logged$/m),
	    'the log tells how many datagrams it leaves out';
	$server->stop;
	my @lines = $server->log =~ / sent \d+ byte/g;
	my $left_out = 0;
	$left_out += $_ for $server->log =~ /^(\d+) more datagram/mg;
	is @lines + $left_out, 31, 'with these, all are accounted for';
	is_deeply answered($server), { clients => 0, answered => 31,
	    bytes => 64, refused => 0, dropped => 0 }, 'the totals are right';
}

# Datagrams that have arrived before SIGTERM are answered.
sub test_stop {
	my ($engine) = @_;
	my $server = udp_server($engine, '-q');
	my $sock = udp($server->address);
	setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 1 << 20;
	my @processes = $server->processes;
	kill STOP => @processes;
	send $sock, "late $_", 0 for 1 .. 100;
	$server->signal('TERM');
	kill CONT => @processes;
	is join(' ', sort map { answer($sock) // 'nothing' } 1 .. 100),
	    join(' ', sort map { "late $_" } 1 .. 100),
	    '100 datagrams that arrived before SIGTERM are answered';
	is $server->wait, 0, 'and the server ends';
	send $sock, 'too late', 0;
	is answer($sock), undef, 'then the port is closed';
}

sub test_count {
	my ($engine) = @_;
	my $server = start_server({ listeners => 2 }, $engine, '--count=3',
	    '--stream', '-a', 'udp:127.0.0.1:0', '-a', 'tcp:127.0.0.1:0');
	my ($udp, $tcp) = $server->addresses;
	my $sock = udp($udp);
	is ask($sock, 'one'), 'one', 'a datagram is answered';
	is exchange(dial($tcp), 'two', undef, half_close => 1), 'two',
	    'a TCP client of the same server is served';
	is ask($sock, 'three'), 'three', 'the last datagram is answered';
	is $server->wait, 0, '--count=3: then the server ends';
	like $server->log, qr/^served 1 client, 3 bytes; answered 2 datagrams, 8 bytes; refused 0, dropped 0$/m,
	    'the totals have both';
}

# The blocking server serves datagrams between two clients, the other engines at
# any time.
sub test_both {
	my ($engine) = @_;
	my $server = start_server({ listeners => 2 }, $engine, '--stream', '-q',
	    '-a', 'udp:127.0.0.1:0', '-a', 'tcp:127.0.0.1:0');
	my ($udp, $tcp) = $server->addresses;
	my ($sock, $client) = (udp($udp), dial($tcp));
	is exchange($client, 'tcp', 3), 'tcp', 'a TCP client is served';
	send $sock, 'udp', 0;
	close $client if $engine eq '--blocking';
	is answer($sock), 'udp', $engine eq '--blocking' ?
	    'a datagram is answered after the client' :
	    'a datagram is answered during its connection';
	$server->stop;
}

for my $engine (engines()) {
	my $server = udp_server($engine, '-q');
	subtest "$engine: sizes" => sub { test_sizes($server) };
	subtest "$engine: two clients" => sub { test_interleaved($server) };
	subtest "$engine: a burst" =>
	    sub { test_burst($server, $engine !~ /workers/) };
	subtest "$engine: ICMP errors" => sub { test_unreachable($server) };
	subtest "$engine: source ports" => sub { test_ports($server) };
	$server->stop;
	subtest "$engine: the log" => sub { test_log($engine) };
	subtest "$engine: SIGTERM" => sub { test_stop($engine) };
	subtest "$engine: --count" => sub { test_count($engine) };
	subtest "$engine: TCP and UDP" => sub { test_both($engine) };
}

subtest 'JSON' => sub {
	my $server = udp_server(usual_engine(), '--log=json');
	ask(udp($server->address), 'hello') for 1 .. 12;
	$server->wait_log(qr/"event":"suppressed","datagrams":2}/);
	$server->signal('TERM');
	$server->wait;
	my $log = $server->log;
	like $log, qr/"event":"datagram","peer":"127\.0\.0\.1:\d+","bytes_in":5,"text":"hello"}/,
	    'a datagram is an event';
	like $log, qr/"event":"totals","clients":0,"bytes_out":0,"datagrams":12,"datagram_bytes":60,"refused":0,"dropped":0}/,
	    'the totals have those of datagrams';
};

SKIP: {
	my $sock = eval { IO::Socket::IP->new(LocalHost => '::1',
	    Type => SOCK_DGRAM, Proto => 'udp') };
	skip 'there is no IPv6 here', 1 unless $sock;
	my $server = start_server(usual_engine(), '-q', '-u', '-a', '[::1]:0');
	like $server->address, qr/^udp:\[::1\]:\d+$/,
	    '-u: the address is one for UDP';
	my $bytes = pattern(65527);
	is_bytes ask(udp($server->address), $bytes), $bytes,
	    'the largest datagram of IPv6 comes back';
	$server->stop;
}

# Each transport has its turn in a process that serves both.
sub flood_udp {
	my ($to) = @_;
	my $sock = udp($to);
	$sock->blocking(0);
	return spawn(sub { 1 while send($sock, 'x' x 64, 0) || 1 });
}

sub round_trip {
	my ($work) = @_;
	return median(map { seconds_of($work) } 1 .. 50);
}

for my $engine (parallel_engines()) {
	my $server = start_server({ listeners => 2 }, $engine, '-q', '-a',
	    'udp:127.0.0.1:0', '-a', 'tcp:127.0.0.1:0');
	my ($udp, $tcp) = $server->addresses;
	my ($client, $sock) = (dial($tcp), udp($udp));
	my @flood = flood_udp($udp);
	at_most(0.005, sub { round_trip(sub { exchange($client, 'x', 1) }) },
	    "$engine: a flood of datagrams delays a TCP client by less than " .
	    '5 ms');
	end_processes(@flood);
	my $bulk = dial($tcp);
	$bulk->blocking(1);
	my $block = 'x' x 65536;
	@flood = (spawn(sub { 1 while syswrite $bulk, $block }),
	    spawn(sub { 1 while sysread $bulk, $block, 65536 }));
	at_most(0.005, sub { round_trip(sub { ask($sock, 'x') }) },
	    "$engine: a flood of TCP delays a datagram by less than 5 ms");
	end_processes(@flood);
	close $bulk;
	$server->stop;
}

done_testing;
