package Peers;

# Starts and stops the echo servers of doc/peers/recipes, for doc/judge and
# doc/measure. Each server runs in a process group of its own, and ends when the
# script ends.

use strict;
use warnings;

use Errno qw(EINTR);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Socket::INET ();
use POSIX qw(setsid);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(last_log_line peers start_peer stop_peer version);

my $DEADLINE = 60;	# seconds to build and start a server
my %running;

$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

# The servers for a use, such as 'judge', that are installed, and our own
# engines if this build has them: { name, needs, for, most, command }, in order.
sub peers {
	my ($use) = @_;
	open my $f, '<', dirname(__FILE__) . '/recipes' or die "recipes: $!\n";
	my $help = `./echo serve --help` or die "no ./echo: make it first\n";
	my @found;
	while (<$f>) {
		chomp;
		next if /^#|^$/;
		my %peer;
		@peer{qw(name needs for most command)} = split ' ', $_, 5;
		next unless $peer{for} eq $use ||
		    $peer{for} eq 'both' && $use !~ /^udp/;
		next if $peer{needs} ne '-' && !_installed($peer{needs});
		my @options = $peer{command} =~ m{^\./echo serve (.*) -q };
		next if grep { $help !~ /\Q$_\E\b/ } map { /(--\w+)/g } @options;
		push @found, \%peer;
	}
	return @found;
}

sub _installed {
	my ($program) = @_;
	return grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

# The name of the program and its version, for a table.
sub version {
	my ($peer) = @_;
	my $program = $peer->{needs};
	return $peer->{command} =~ m{^\./echo } ? `./echo --version` =~
	    s/ \(.*//sr : '-' if $program eq '-';
	my %ask = (node => 'node --version', python3 => 'python3 --version',
	    go => 'go version', 'inetutils-inetd' =>
	    'inetutils-inetd --version');
	my %package = ('nc.openbsd' => 'netcat-openbsd',
	    tcpserver => 'ucspi-tcp');
	my $package = $package{$program} // $program;
	my $output = $ask{$program} ? `$ask{$program}` :
	    `dpkg-query -W -f '\${Version}' $package 2>/dev/null`;
	return "$program " . ($output =~ /(\d[\w.+:~-]*)/ ? $1 : '');
}

# A port that is free now.
sub _free_port {
	my ($is_udp) = @_;
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    $is_udp ? (Proto => 'udp') : (Listen => 1))
	    or die "no port: $@\n";
	return $l->sockport;
}

# Whether a UDP port is open on this machine. No datagram is sent to find this out:
# its sender would be the first client, and some servers serve only one client.
sub _is_open_udp {
	my ($port) = @_;
	local @ARGV = grep { -r } '/proc/net/udp', '/proc/net/udp6';
	my $hex = sprintf '%04X', $port;
	return grep { /^\s*\d+: [0-9A-F]+:$hex / } readline;
}

# Waits until the server accepts a connection, or until its UDP port is open.
# Returns false if the server is not ready in time.
sub _comes_up {
	my ($self) = @_;
	my ($udp_port) = $self->{address} =~ /^udp:.*:(\d+)$/;
	for (my $until = time + $DEADLINE; time < $until; sleep 0.01) {
		return 1 if $udp_port ? _is_open_udp($udp_port) :
		    IO::Socket::INET->new($self->{address});
		return 0 if waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
	}
	return 0;
}

# Starts a server, with the words of @wrap in front of its command. Returns
# { pid, address, log }; dies with one line if the server does not start.
sub start_peer {
	my ($peer, @wrap) = @_;
	my $dir = File::Temp->newdir;
	my $is_udp = $peer->{for} =~ /^udp/;
	my $port = $peer->{command} =~ /\bPORT7\b/ ? 7 : _free_port($is_udp);
	my $self = { dir => $dir, log => "$dir/log", port => $port,
	    address => ($is_udp ? 'udp:' : '') . "127.0.0.1:$port" };
	my $command = $peer->{command} =~ s/\bPORT\b/$port/gr =~
	    s/\bDIR\b/$dir/gr;
	$command = "exec $command" unless $command =~ /[;&]/;
	$self->{pid} = fork // die "fork: $!\n";
	if ($self->{pid} == 0) {
		setsid;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $self->{log};
		open STDERR, '>&', \*STDOUT;
		no warnings 'exec';
		exec @wrap, 'sh', '-c', 'ulimit -n 65536 2>/dev/null || ' .
		    "ulimit -n \$(ulimit -Hn); $command";
		POSIX::_exit(127);
	}
	$running{$self->{pid}} = 1;
	return $self if _comes_up($self);
	stop_peer($self);
	die "does not start: ", last_log_line($self), "\n";
}

# The last line of the server's output, '' if there is none.
sub last_log_line {
	my ($self) = @_;
	open my $f, '<', $self->{log} or return '';
	my (@lines) = readline $f;
	my $last = $lines[-1] // '';
	chomp $last;
	return $last;
}

sub stop_peer {
	my ($self) = @_;
	kill KILL => -$self->{pid};
	1 until waitpid($self->{pid}, 0) != -1 || $! != EINTR;
	delete $running{$self->{pid}};
}

END { kill KILL => map { -$_ } keys %running }

1;
