package Machine;

# The machine on which doc/measure and doc/plot measure, and the median.

use strict;
use warnings;

use Exporter qw(import);
use FindBin;
use POSIX qw(setpgid uname);

our @EXPORT = qw(congestion_control cores go_alone kernel median processor);

my $alone = delete $ENV{MEASURE_ALONE};

# Runs the script again in new namespaces, if the system permits this. In a
# network namespace the congestion control of loopback can be set. In a PID
# namespace no process outlives the script. unshare(1) ignores SIGINT and
# SIGTERM while it waits, so this process passes these signals on.
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

# Sets the congestion control to cubic if the system permits this. Returns the name
# of the congestion control, and whether it is the default of the system. The reason
# for cubic: BBR paces the packets, and then the figures of bulk streams vary by a
# factor of three.
sub congestion_control {
	my $system = do {
		open my $f, '<', '/proc/sys/net/ipv4/tcp_congestion_control';
		$f ? readline $f : "unknown\n";
	};
	chomp $system;
	return "$system (the default of the system)" unless $alone;
	system('ip link set lo up') == 0 or die "no loopback\n";
	for ('127.0.0.0/8', '127.0.0.1') {
		return "$system (the default of the system)"
		    if system("ip route change " .
		    "local $_ dev lo table local proto kernel scope host " .
		    "src 127.0.0.1 congctl cubic 2>/dev/null") != 0;
	}
	return 'cubic (in a separate network namespace)';
}

sub cores {
	chomp(my $n = `nproc`);
	return $n + 0;
}

# The kernel and its version, such as "Linux 6.1".
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
