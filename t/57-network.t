# Networks that are dead, slow or lossy, in namespaces, where nothing of it is
# felt outside.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

# The test itself moves into a network of its own.
my @unshare = ('unshare', $> == 0 ? '-n' : '-rn');
unless ($ENV{ECHO_NETWORK}) {
	plan skip_all => 'no network namespace to be had'
	    if system("@unshare true >/dev/null 2>&1") != 0;
	plan skip_all => 'no ip(8) here' if !works('ip link');
	$ENV{ECHO_NETWORK} = 1;
	exec { $unshare[0] } @unshare, $^X, $0 or die "$unshare[0]: $!";
}

sub works { system("($_[0]) >/dev/null 2>&1") == 0 }

works('ip link set lo up') or plan skip_all => 'loopback is not to be had';

# The other end of a cable: a process that holds another network, until the
# test is gone.
my $here = readlink '/proc/self/ns/net';
pipe my $end, my $life or die $!;
my $there = fork // die "fork: $!";
if ($there == 0) {
	open STDIN, '<&', $end;
	exec 'unshare', '-n', 'cat' or POSIX::_exit(127);
}
close $end;
for (my $until = time + $DEADLINE; time < $until; sleep 0.005) {
	my $net = readlink "/proc/$there/ns/net";
	last if defined $net && $net ne $here;
}
my @over_there = ('nsenter', '-t', $there, '-n');

sub works_there { works(join ' ', @over_there, 'sh', '-c', "'$_[0]'") }

# Addresses that are for examples (RFC 5737).
my $cable = works("ip link add e0 type veth peer name e1 netns $there") &&
    works('ip addr add 192.0.2.1/24 dev e0') && works('ip link set e0 up') &&
    works_there('ip addr add 192.0.2.2/24 dev e1') &&
    works_there('ip link set e1 up') && works_there('ip link set lo up');
# A packet that is lost should be one packet.
works('ip link set e0 gso_max_segs 1') &&
    works_there('ip link set e1 gso_max_segs 1') if $cable;

sub server_there {
	return start_server({ wrap => \@over_there }, '-a', '192.0.2.2', @_);
}

# A network that dies takes no client's place for longer than --idle.
SKIP: {
	skip 'no veth here', 1 unless $cable;
	for my $engine (engines()) {
		my $server = server_there($engine, '--stream', '--idle=500ms');
		my $before = $server->descriptors;
		my $silent = dial($server);
		is exchange($silent, 'hello', 5), 'hello',
		    "$engine: over the cable";
		my $owed;
		if ($engine ne '--blocking') {
			$owed = dial($server);
			exchange($owed, 'hello', 5);
		}
		works('ip link set e0 down');
		put($silent, 'lost');
		ok $server->wait_log(qr/closed .*: idle/, $owed ? 2 : 1),
		    "$engine: the cable is cut: --idle ends it";
		is $server->descriptors, $before, "$engine: and its place is free"
		    if defined $before;
		works('ip link set e0 up');
		close $_ for grep { $_ } $silent, $owed;
		is exchange(dial($server), 'again', 5), 'again',
		    "$engine: mended, it serves";
		$server->stop;
	}
}

# Slow: 8 Mbit/s. What waits is in the kernel's buffers, which are bounded.
SKIP: {
	skip 'no veth here', 1 unless $cable;
	skip 'no tc(8) or no tbf here', 1 unless works_there('tc qdisc add ' .
	    'dev e1 root tbf rate 8mbit burst 32kbit latency 400ms');
	my $message = pattern(1 << 20);
	for my $engine (engines()) {
		my $server = server_there($engine, '--stream', '--chunk=64k');
		# Every worker touches what it needs, for any client.
		for my $sock (map { dial($server) } 1 .. 16) {
			exchange($sock, 'x' x 4096, undef, half_close => 1);
		}
		my $before = $server->memory;
		my $sock = dial($server);
		my $start = time;
		ok scalar exchange($sock, $message, 1 << 20) eq $message,
		    "$engine: 1 MiB at 8 Mbit/s";
		cmp_ok time - $start, '>', 0.5, "$engine: and it was slow";
		cmp_ok $server->memory - $before, '<=',
		    (1 + $server->workers) * 4 * 65536,
		    "$engine: memory stays flat" if $before && !sanitized();
		close $sock;
		$server->stop;
	}
	works_there('tc qdisc del dev e1 root');
}

# Lossy: one packet of twenty, both ways.
my @losses = (
	'tc qdisc add dev DEV root netem loss 5%',
	'iptables -A INPUT -m statistic --mode random --probability 0.05 -j DROP',
	'nft add table ip t && nft add chain ip t in "{ type filter hook ' .
	    'input priority 0; }" && nft add rule ip t in numgen random ' .
	    'mod 100 \< 5 drop'
);

SKIP: {
	skip 'no veth here', 1 unless $cable;
	my ($way) = grep {
		works(s/DEV/e0/r) && works_there(s/DEV/e1/r)
	} @losses;
	skip 'nothing here that loses packets (netem, iptables, nft)', 1
	    unless $way;
	my $message = pattern(256 << 10);
	for my $engine (engines()) {
		my $server = server_there($engine, '--stream', '--chunk=64k');
		my $sock = dial($server);
		my ($back, $end) = exchange($sock, $message, length $message,
		    deadline => 60);
		ok $back eq $message, "$engine: 256 KiB with 5 % loss" or
		    diag length $back, " bytes, $end";
		close $sock;
		$server->stop;
	}
}

# A machine whose IPv6 is turned off.
SKIP: {
	skip 'IPv6 cannot be turned off here', 1
	    unless works('echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6');
	for my $engine (engines()) {
		my $run = run_echo({ deadline => 10 }, 'serve',
		    split(' ', $engine), '-a', '[::1]:0');
		is $run->{status}, 7, "$engine: no IPv6: exit 7";
		like $run->{err}, qr/\Aecho serve: [^\n]*\[::1\][^\n]*\n\z/,
		    "$engine: with one line";
		my $server = start_server($engine, '-a', '*');
		is exchange(dial('127.0.0.1:' . $server->port), 'v4', 2), 'v4',
		    "$engine: no IPv6: all interfaces";
		$server->stop;
	}
}

done_testing;
