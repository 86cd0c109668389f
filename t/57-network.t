# Networks that are dead, slow or lossy, in network namespaces, so that nothing
# outside is affected.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

# The test runs itself again in its own network namespace.
my @unshare = ('unshare', $> == 0 ? '-n' : '-rn');
unless ($ENV{ECHO_NETWORK}) {
	plan skip_all => 'a network namespace cannot be created'
	    if system("@unshare true >/dev/null 2>&1") != 0;
	plan skip_all => 'there is no ip(8)' if !works('ip link');
	$ENV{ECHO_NETWORK} = 1;
	exec { $unshare[0] } @unshare, $^X, $0 or die "$unshare[0]: $!";
}

sub works { system("($_[0]) >/dev/null 2>&1") == 0 }

works('ip link set lo up') or
    plan skip_all => 'the loopback interface cannot be used';

# The other end of the cable: a process that holds a second network until the
# test has ended.
my $here = readlink '/proc/self/ns/net';
pipe my $end, my $life or die $!;
my $there = fork // die "fork: $!";
if ($there == 0) {
	open STDIN, '<&', $end;
	exec 'unshare', '-n', 'cat' or POSIX::_exit(127);
}
close $end;
wait_until(sub {
	my $net = readlink "/proc/$there/ns/net";
	return defined $net && $net ne $here;
});
my @over_there = ('nsenter', '-t', $there, '-n');

sub works_there { works(join ' ', @over_there, 'sh', '-c', "'$_[0]'") }

# Addresses for examples (RFC 5737). Each lost packet should be one packet.
my $cable = works("ip link add e0 type veth peer name e1 netns $there") &&
    works('ip addr add 192.0.2.1/24 dev e0') && works('ip link set e0 up') &&
    works_there('ip addr add 192.0.2.2/24 dev e1') &&
    works_there('ip link set e1 up') && works_there('ip link set lo up');
works('ip link set e0 gso_max_segs 1') &&
    works_there('ip link set e1 gso_max_segs 1') if $cable;

sub server_there {
	return start_server({ wrap => \@over_there }, '-a', '192.0.2.2', @_);
}

# --idle ends clients whose network is dead. All engines wait at the same time,
# and so long that a client that is only not scheduled is not ended.
sub test_dead_network {
	my @cases = map { { engine => $_,
	    server => server_there($_, '--stream', '--idle=2s') } } engines();
	for (@cases) {
		my $server = $_->{server};
		$_->{descriptors} = $server->descriptors;
		my $n = $_->{engine} eq '--blocking' ? 1 : 2;
		$_->{socks} = [ map { dial($server) } 1 .. $n ];
		is join(' ', map { scalar exchange($_, 'hello', 5) }
		    @{ $_->{socks} }), join(' ', ('hello') x $n),
		    "$_->{engine}: clients are served over the cable";
	}
	works('ip link set e0 down');
	put($_->{socks}[0], 'lost') for @cases;
	for my $case (@cases) {
		my ($engine, $server) = @$case{qw(engine server)};
		my $n = @{ $case->{socks} };
		ok $server->wait_log(qr/closed .*: idle/, $n),
		    "$engine: after the cable is cut --idle ends the clients";
		SKIP: {
			skip 'descriptors are counted in /proc', 1
			    unless defined $case->{descriptors};
			wait_until(sub {
				$server->descriptors == $case->{descriptors}
			});
			is $server->descriptors, $case->{descriptors},
			    "$engine: their descriptors are closed";
		}
	}
	works('ip link set e0 up');
	for my $case (@cases) {
		close $_ for splice @{ $case->{socks} };
		is exchange(dial($case->{server}), 'again', 5), 'again',
		    "$case->{engine}: when the cable works it serves";
		$case->{server}->stop;
	}
}

# 8 Mbit/s: the waiting bytes are in the buffers of the kernel, which are
# bounded.
sub test_slow_network {
	my ($engine) = @_;
	my $message = pattern(1 << 20);
	my $server = server_there($engine, '--stream', '--chunk=64k');
	# Each worker uses the memory that it needs for any client.
	for my $sock (map { dial($server) } 1 .. 16) {
		exchange($sock, 'x' x 4096, undef, half_close => 1);
	}
	my $before = $server->memory;
	my $sock = dial($server);
	my $start = time;
	is_bytes scalar exchange($sock, $message, 1 << 20,
	    deadline => 4 * $DEADLINE), $message, '1 MiB comes back';
	cmp_ok time - $start, '>', 0.5, 'the network was slow';
	SKIP: {
		skip 'memory is read from /proc', 1 unless $before;
		skip 'a sanitizer keeps memory of its own', 1 if sanitized();
		cmp_ok $server->memory - $before, '<=',
		    (1 + $server->workers) * 4 * 65536,
		    'the memory of the server does not grow';
	}
	close $sock;
	$server->stop;
}

# One packet of twenty is lost, in both directions.
my @losses = (
	'tc qdisc add dev DEV root netem loss 5%',
	'iptables -A INPUT -m statistic --mode random --probability 0.05 -j DROP',
	'nft add table ip t && nft add chain ip t in "{ type filter hook ' .
	    'input priority 0; }" && nft add rule ip t in numgen random ' .
	    'mod 100 \< 5 drop'
);

sub test_lossy_network {
	my ($engine) = @_;
	my $message = pattern(256 << 10);
	my $server = server_there($engine, '--stream', '--chunk=64k',
	    '--idle=2m');
	my $sock = dial($server);
	is_bytes scalar exchange($sock, $message, length $message,
	    deadline => 4 * $DEADLINE), $message, '256 KiB come back';
	close $sock;
	$server->stop;
}

SKIP: {
	skip 'there is no veth', 1 unless $cable;
	subtest 'a dead network' => \&test_dead_network;
	SKIP: {
		skip 'there is no tc(8) or no tbf', 1
		    unless works_there('tc qdisc add dev e1 root tbf ' .
		    'rate 8mbit burst 32kbit latency 400ms');
		subtest "$_: a slow network" => sub { test_slow_network($_) }
		    for engines();
		works_there('tc qdisc del dev e1 root');
	}
	SKIP: {
		my ($way) = grep {
			works(s/DEV/e0/r) && works_there(s/DEV/e1/r)
		} @losses;
		skip 'nothing can lose packets (netem, iptables, nft)', 1
		    unless $way;
		subtest "$_: a network that loses 5 % of the packets" =>
		    sub { test_lossy_network($_) } for engines();
	}
}

SKIP: {
	skip 'IPv6 cannot be turned off', 1
	    unless works('echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6');
	for my $engine (engines_but('--uring')) {
		subtest "$engine: IPv6 is turned off" => sub {
			my $run = run_echo({ deadline => $DEADLINE }, 'serve',
			    split(' ', $engine), '-a', '[::1]:0');
			is $run->{status}, 7, 'an IPv6 address: exit 7';
			like $run->{err},
			    qr/\Aecho serve: [^\n]*\[::1\][^\n]*\n\z/,
			    'one line names it';
			my $server = start_server($engine, '-a', '*');
			is exchange(dial('127.0.0.1:' . $server->port), 'v4',
			    2), 'v4', 'all interfaces are served';
			$server->stop;
		};
	}
}

done_testing;
