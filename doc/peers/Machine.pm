package Machine;

# What doc/measure and doc/plot measure on, and how they come to figures.

use strict;
use warnings;

use Exporter qw(import);
use FindBin;
use POSIX qw(setpgid uname);

our @EXPORT = qw(congestion_control cores go_alone kernel median processor);

my $alone = delete $ENV{MEASURE_ALONE};

# Runs the script again in a network namespace of its own, if the system lets
# us: there the congestion control of loopback can be chosen. And in a namespace
# of processes, so that nothing outlives it. While unshare(1) waits it ignores
# the signals that end others, so they go by us.
sub go_alone {
	return if $alone;
	my @unshare = ('unshare', '--net', '--pid', '--fork', '--kill-child',
	    '--mount-proc', $> == 0 ? () : '--map-root-user');
	return if system("@unshare true 2>/dev/null") != 0;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		setpgid 0, 0;
		$ENV{MEASURE_ALONE} = 1;
		exec @unshare, $^X, "$FindBin::Bin/$FindBin::Script", @ARGV;
	}
	$SIG{$_} = sub { kill TERM => -$pid } for qw(INT TERM HUP);
	1 until waitpid($pid, 0) == $pid;
	exit($? >> 8 || $? & 127);
}

# The congestion control of what is measured, and how that came about: cubic
# where we may choose. BBR, which paces what it sends, makes bulk figures swing
# by a factor of three.
sub congestion_control {
	my $system = do {
		open my $f, '<', '/proc/sys/net/ipv4/tcp_congestion_control';
		$f ? readline $f : "unknown\n";
	};
	chomp $system;
	return "$system, the system's" unless $alone;
	system('ip link set lo up') == 0 or die "no loopback\n";
	for ('127.0.0.0/8', '127.0.0.1') {
		return "$system, the system's" if system("ip route change " .
		    "local $_ dev lo table local proto kernel scope host " .
		    "src 127.0.0.1 congctl cubic 2>/dev/null") != 0;
	}
	return 'cubic, in a network namespace of its own';
}

sub cores {
	chomp(my $n = `nproc`);
	return $n + 0;
}

sub kernel {
	my ($system, undef, $release) = uname;
	return "$system " . $release =~ s/^(\d+\.\d+).*/$1/r;
}

sub processor {
	open my $f, '<', '/proc/cpuinfo' or return 'unknown';
	my ($model) = map { /^model name\s*: (.*)/ ? $1 : () } readline $f;
	return $model // 'unknown';
}

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

1;
