package Peers;

# Starts and stops the echo servers of doc/peers/recipes, for doc/judge and
# doc/measure. Each is a process group of its own and ends with the script.

use strict;
use warnings;

use Errno qw(EINTR);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Socket::INET ();
use POSIX qw(setsid);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(last_words peers start_peer stop_peer version);

my $DEADLINE = 60;	# seconds that one may take to come up, or be built
my %running;

$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

# Those for 'judge' or 'speed' that are installed and that this program has:
# { name, needs, for, most, command }, in order.
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
		next unless $peer{for} =~ /^(?:both|$use)$/;
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

# In words, as its own tables name it.
sub version {
	my ($peer) = @_;
	my $program = $peer->{needs};
	return $peer->{command} =~ m{^\./echo } ? `./echo --version` =~
	    s/ \(.*//sr : '-' if $program eq '-';
	my %ask = (node => 'node --version', python3 => 'python3 --version',
	    go => 'go version');
	my %package = ('nc.openbsd' => 'netcat-openbsd',
	    tcpserver => 'ucspi-tcp');
	my $package = $package{$program} // $program;
	my $said = $ask{$program} ? `$ask{$program}` :
	    `dpkg-query -W -f '\${Version}' $package 2>/dev/null`;
	return "$program " . ($said =~ /(\d[\w.+:~-]*)/ ? $1 : '');
}

# A port that nobody has now.
sub _free_port {
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
	    or die "no port: $@\n";
	return $l->sockport;
}

sub _comes_up {
	my ($self) = @_;
	for (my $until = time + $DEADLINE; time < $until; sleep 0.01) {
		return 1 if IO::Socket::INET->new($self->{address});
		return 0 if waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
	}
	return 0;
}

# A running one: { pid, address, log }; dies with a line if it does not come
# up. In front of its command goes @wrap.
sub start_peer {
	my ($peer, @wrap) = @_;
	my $dir = File::Temp->newdir;
	my $port = _free_port();
	my $self = { dir => $dir, log => "$dir/log",
	    address => "127.0.0.1:$port" };
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
	die "does not come up: ", last_words($self), "\n";
}

# The last line that it said, '' if it was silent.
sub last_words {
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
