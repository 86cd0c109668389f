package EchoTest;

# What the tests share: running the program, servers that cannot outlive
# their test, and sockets with a deadline on every step.
#
# ECHO_DIR is the folder of the program to be tested (default: the tree's).

use strict;
use warnings;

use Cwd qw(abs_path);
use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Select ();
use IO::Socket::IP ();
use JSON::PP qw(decode_json);
use POSIX qw(:sys_wait_h);
use Scalar::Util qw(refaddr weaken);
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw($DEADLINE engines exec_form modes program sanitized
    in_tree slurp run_echo run_command run_make chroot_prefix start_server
    start_command dial spawn put get get_all exchange pattern random_bytes
    show shimmed);

our $DEADLINE = 15;		# seconds that any one step may take
my $FILE_DEADLINE = 240;	# seconds that a test file may take

my %running;			# servers, by address, weakly

my $tree = abs_path(dirname(__FILE__) . '/../..');
my $dir = abs_path($ENV{ECHO_DIR} // $tree);

$SIG{PIPE} = 'IGNORE';
# Not by die, which an eval or a destructor would catch.
$SIG{ALRM} = sub {
	print STDERR "the whole test took more than $FILE_DEADLINE s\n";
	POSIX::_exit(255);
};
alarm $FILE_DEADLINE;

sub in_tree { "$tree/$_[0]" }

# The program, or a link to it.
sub program { "$dir/" . ($_[0] // 'echo') }

# The engines of the server, from what it says of itself, and the last one
# once more with two workers.
sub engines {
	my $help = run_echo('serve', '--help')->{out};
	$help =~ /^usage: echo serve \[((?:--\w+(?: \| )?)+)\]/
	    or die "no engines in: $help";
	my @engines = split / \| /, $1;
	return @engines, "$engines[-1] --workers=2";
}

# An engine may come with options; arguments, a word each.
sub _words { map { /^--\w+ --\S+$/ ? split / / : $_ } @_ }

# The command that a file of contrib has, as a list, after a keyword.
sub exec_form {
	my ($file, $keyword) = @_;
	slurp(in_tree("contrib/$file")) =~ /^$keyword\s*(\[.*?\])/ms
	    or die "no list after $keyword in $file";
	return @{ decode_json($1) };
}

# The modes, and the link of each: ( serve => 'echo_server', ... ).
sub modes {
	my %link_of =
	    run_echo('help')->{out} =~ /^  (\w+) .* \(or (\w+)\)$/mg
	    or die 'no modes in help';
	return %link_of;
}

# Whether it is built with a sanitizer, or to tell which lines ran, which takes
# memory and, at its end, descriptors and files of its own.
sub sanitized {
	local $ENV{ASAN_OPTIONS} = 'help=1';
	return run_echo('--version')->{err} =~ /Sanitizer/ ||
	    slurp(program()) =~ /\.gcda\b/;
}

# The command in front of the program (wrap) that has it meet the faults of
# t/shim.c, where a sanitizer's runtime has to be loaded before.
sub shimmed {
	my ($faults) = @_;
	my $program = program();
	my ($runtime) = `ldd '$program' 2>/dev/null` =~ m{(/\S*libasan\S*)};
	return ['env', "ECHO_SHIM=$faults", 'LD_PRELOAD=' .
	    join ' ', grep { defined } $runtime, "$dir/build/t/shim.so"];
}

sub slurp {
	my ($path) = @_;
	open my $f, '<:raw', $path or die "$path: $!";
	local $/;
	return readline($f) // '';
}

# Replaces this process; descriptors are numbers or paths.
sub _exec {
	my ($in, $out, $err, @command) = @_;
	open STDIN, '<', $in or POSIX::_exit(126);
	open STDOUT, ref $out ? '>&' : '>', $out or POSIX::_exit(126);
	open STDERR, ref $err ? '>&' : '>', $err or POSIX::_exit(126);
	$SIG{PIPE} = 'DEFAULT';
	no warnings "exec";
	exec { $command[0] } @command;
	POSIX::_exit(127);
}

# Runs the program with arguments to its end: { status, signal, out, err,
# time }. First may come a reference to: in (bytes for stdin), out and err
# (paths or handles instead of being caught), program (a link), command
# (another one), wrap (a command in front, such as prlimit), deadline (s).
sub run_echo {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = _words(@_);
	my $tmp = File::Temp->newdir;
	my $in = '/dev/null';
	if (defined $how{in}) {
		$in = "$tmp/in";
		open my $f, '>:raw', $in or die $!;
		print $f $how{in};
		close $f or die $!;
	}
	$in = $how{stdin} if defined $how{stdin};
	my ($out, $err) = ($how{out} // "$tmp/out", $how{err} // "$tmp/err");
	my @command = (@{ $how{wrap} // [] },
	    $how{command} // program($how{program}), @args);
	my $start = time;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		alarm($how{deadline} // 60);	# survives exec: no one is left
		_exec($in, $out, $err, @command);
	}
	waitpid $pid, 0;
	my $status = $?;
	return {
		status => WIFEXITED($status) ? WEXITSTATUS($status) : -1,
		signal => WIFSIGNALED($status) ? WTERMSIG($status) : 0,
		out => defined $how{out} ? '' : slurp($out),
		err => defined $how{err} ? '' : slurp($err),
		time => time - $start
	};
}

# Another command, as run_echo runs ours; status 127 if it is not there.
sub run_command {
	my %how = ref $_[0] ? %{ +shift } : ();
	my ($command, @args) = @_;
	return run_echo({ %how, command => $command }, @args);
}

# make in a folder, without what the make that runs the tests has told its
# children.
sub run_make {
	my ($folder, @args) = @_;
	local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL ECHO_DIR)};
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL ECHO_DIR)};
	return run_command('make', '-s', '-C', $folder, @args);
}

# What to put in front of a command for it to see nothing but that folder,
# which has the program /echo; empty where we may not.
sub chroot_prefix {
	my ($root) = @_;
	for (['chroot', $root], ['unshare', '-r', 'chroot', $root]) {
		my $run = run_command(@$_, '/echo', '--version');
		return @$_ if $run->{status} == 0;
	}
	return;
}

# A server of ours on a port that the system chooses. ECHO_SERVE has options
# that all servers get.
sub start_server {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = _words(@_);
	unshift @args, split ' ', $ENV{ECHO_SERVE} // '';
	push @args, '--port=0'
	    unless $how{no_port} || grep { /^(-p|--port)/ } @args;
	return start_command({ %how, name => "serve @args" },
	    @{ $how{wrap} // [] }, program('echo'), 'serve', @args);
}

# A command that says "listening on ADDRESS" on stdout.
#
# Between the test and it stands a keeper, which ends it when the test is
# gone, however that came about: the keeper sees the end of a pipe whose
# other end only the test holds.
sub start_command {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @command = @_;
	my $self = bless {
		name => $how{name} // "@command",
		tmp => File::Temp->newdir,
	}, 'EchoTest::Server';
	$self->{log} = "$self->{tmp}/log";
	pipe my $life, $self->{life} or die $!;
	pipe $self->{out}, my $out or die $!;
	pipe $self->{result}, my $result or die $!;
	my $log = $how{log} // $self->{log};	# a path or a handle
	my $keeper = fork // die "fork: $!";
	if ($keeper == 0) {
		alarm 0;
		close $self->{$_} for qw(out result);
		let_go($self);
		_keep($life, $out, $result, $log, @command);
		POSIX::_exit(0);
	}
	$self->{keeper} = $keeper;
	weaken($running{refaddr $self} = $self);
	$self->{pid} = $self->_line($self->{result}) + 0;
	close $out;
	return $self if $how{no_wait};
	$self->wait_listening($how{listeners} // 1);
	return $self;
}

# In a child: what keeps servers alive is the test's to hold, not ours.
sub let_go {
	close $_->{life} for grep { $_ && $_->{life} } @_, values %running;
}

sub _keep {
	my ($life, $out, $result, $log, @command) = @_;
	local $SIG{CHLD} = sub { };	# so that it interrupts the select
	$SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
	my $pid = fork // POSIX::_exit(125);
	if ($pid == 0) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP CHLD);
		_exec('/dev/null', $out, $log, @command);
	}
	close $out;
	syswrite $result, "$pid\n";
	my $left = IO::Select->new($life);
	until (waitpid($pid, WNOHANG) > 0) {
		next unless $left->can_read(0.1);
		kill KILL => $pid;
		waitpid $pid, 0;
		last;
	}
	syswrite $result, "$?\n";
}

sub EchoTest::Server::_line {
	my ($self, $from) = @_;
	my $line = '';
	my $until = time + $DEADLINE;
	while ($line !~ /\n/) {
		my $left = $until - time;
		last if $left <= 0 || !IO::Select->new($from)->can_read($left);
		last unless sysread $from, $line, 1, length $line;
	}
	chomp $line;
	return $line;
}

sub EchoTest::Server::wait_listening {
	my ($self, $n) = @_;
	for (1 .. $n) {
		my $line = $self->_line($self->{out});
		$line =~ /^listening on (\S+)$/ or die
		    "$self->{name}: not listening but '$line'\n", $self->log;
		push @{ $self->{addresses} }, $1;
	}
	$self->{address} = $self->{addresses}[0];
	($self->{port}) = $self->{address} =~ /:(\d+)$/;
}

sub EchoTest::Server::address { $_[0]{address} }
sub EchoTest::Server::addresses { @{ $_[0]{addresses} } }
sub EchoTest::Server::port { $_[0]{port} }
sub EchoTest::Server::pid { $_[0]{pid} }
sub EchoTest::Server::log { -e $_[0]{log} ? slurp($_[0]{log}) : '' }
sub EchoTest::Server::signal { kill $_[1] => $_[0]{pid} }

# Waits until the log matches, so many times if n is given; false if it does
# not in time.
sub EchoTest::Server::wait_log {
	my ($self, $what, $n) = (@_, 1);
	for (my $until = time + $DEADLINE; time < $until; sleep 0.005) {
		my $found = () = $self->log =~ /$what/g;
		return 1 if $found >= $n;
	}
	diag "not $n times $what in the log of $self->{name}:\n",
	    show($self->log, 3000);
	return 0;
}

# Its workers, if it has any.
sub EchoTest::Server::workers {
	my ($self) = @_;
	return split ' ',
	    slurp("/proc/$self->{pid}/task/$self->{pid}/children");
}

sub _sum {
	my ($self, $what) = @_;
	my $sum = 0;
	$sum += $what->("/proc/$_") // return undef
	    for $self->{pid}, $self->workers;
	return $sum;
}

# Of all its processes: how many descriptors are open, and how much memory
# they take, in bytes.
sub EchoTest::Server::descriptors {
	return $_[0]->_sum(sub {
		opendir my $d, "$_[0]/fd" or return undef;
		return scalar grep { !/^\./ } readdir $d;
	});
}

sub EchoTest::Server::memory {
	return $_[0]->_sum(sub {
		slurp("$_[0]/status") =~ /^VmRSS:\s+(\d+) kB/m ? 1024 * $1 :
		    undef;
	});
}

# Processor seconds they have used.
sub EchoTest::Server::cpu {
	return $_[0]->_sum(sub {
		my @stat = split ' ', slurp("$_[0]/stat") =~ s/.*\) //r;
		($stat[11] + $stat[12]) /
		    POSIX::sysconf(POSIX::_SC_CLK_TCK());
	});
}

# Waits for its end: the wait status, undef if it does not end in time.
sub EchoTest::Server::wait {
	my ($self) = @_;
	return $self->{status} if defined $self->{status};
	my $line = $self->_line($self->{result});
	return undef if $line eq '';
	close $self->{life};
	waitpid $self->{keeper}, 0;
	return $self->{status} = $line;
}

# Stops it by a signal (TERM; undef: none) and asserts that it ends well:
# exit status 0, no sanitizer's and no stray words in its log.
sub EchoTest::Server::stop {
	my ($self, $signal) = (@_, 'TERM');
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->signal($signal) if defined $signal;
	my $status = $self->wait;
	my $log = $self->log;
	my @stray = grep { !$self->_expects($_) } split /\n/, $log;
	my $well = defined $status && $status == 0 && !@stray;
	ok $well, "$self->{name}: ends well" or diag
	    'wait status ', $status // 'none', "\n",
	    @stray ? "stray: $stray[0]\n" : '', show($log, 3000);
	return $well;
}

# Lines of the log that are as they should be; allow() adds to them.
sub EchoTest::Server::_expects {
	my ($self, $line) = @_;
	return 1 if $line =~ /^stopping: \d+ clients? under way, for at most /;
	return 1 if $line =~ /^echo serve: no sandbox: /;
	return 1 if $line =~ /^served \d+ clients?, \d+ bytes?$/;
	return 1 if $line =~ /^\S+:\d+ (connected$|received |read |closed )/;
	return grep { $line =~ $_ } @{ $self->{allowed} };
}

sub EchoTest::Server::allow { push @{ $_[0]{allowed} }, $_[1] }

sub EchoTest::Server::DESTROY {
	my ($self) = @_;
	local ($?, $!);
	delete $running{refaddr $self};
	return if defined $self->{status} || !$self->{keeper};
	close $self->{life};
	waitpid $self->{keeper}, 0;
}

# A child process of the test that ends with it, or by its own alarm.
sub spawn {
	my ($work) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	let_go();
	$SIG{ALRM} = 'DEFAULT';
	alarm $FILE_DEADLINE;
	eval { $work->(); 1 } or print STDERR $@;
	POSIX::_exit($@ ? 1 : 0);
}

# A connection to "host:port" or a server.
sub dial {
	my ($to) = @_;
	$to = $to->address if ref $to;
	my ($host, $port) = $to =~ /^\[?(.*?)\]?:(\d+)$/ or die "dial $to";
	my $sock = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port,
	    Type => SOCK_STREAM, Timeout => $DEADLINE) or die "$to: $@";
	setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
	$sock->blocking(0);
	return $sock;
}

# Both ways at once: writes $out, reads until $want bytes are there (undef:
# until end of file). What came, in list context also how it ended: 'done',
# 'eof', 'late' or an errno's text. half_close => 1: FIN after the last byte.
sub exchange {
	my ($sock, $out, $want, %how) = @_;
	my ($in, $sent) = ('', 0);
	my $until = time + ($how{deadline} // $DEADLINE);
	my $fin = $how{half_close};
	while (1) {
		if ($fin && $sent == length $out) {
			shutdown $sock, SHUT_WR;
			$fin = 0;
		}
		last if defined $want && length $in >= $want &&
		    $sent == length $out && !$fin;
		my ($r, $w) = ('', '');
		vec($r, fileno $sock, 1) = 1
		    if !defined $want || length $in < $want;
		vec($w, fileno $sock, 1) = 1 if $sent < length $out;
		my $left = $until - time;
		return wantarray ? ($in, 'late') : $in if $left <= 0;
		my $n = select $r, $w, undef, $left;
		next if $n < 0;
		if (vec $w, fileno $sock, 1) {
			my $k = syswrite $sock, $out, $how{piece} // 1 << 20,
			    $sent;
			return wantarray ? ($in, "$!") : $in
			    if !defined $k && $! != EAGAIN && $! != EINTR;
			$sent += $k // 0;
		}
		if (vec $r, fileno $sock, 1) {
			my $k = sysread $sock, $in, $how{take} // 1 << 18,
			    length $in;
			return wantarray ? ($in, "$!") : $in
			    if !defined $k && $! != EAGAIN && $! != EINTR;
			return wantarray ? ($in, 'eof') : $in
			    if defined $k && $k == 0;
		}
	}
	return wantarray ? ($in, 'done') : $in;
}

# Writes all of it; true if that went well.
sub put {
	my ($sock, $bytes) = @_;
	my (undef, $end) = exchange($sock, $bytes, 0);
	return $end eq 'done';
}

sub get {
	my ($sock, $n) = @_;
	return exchange($sock, '', $n);
}

# All up to end of file, and how it ended.
sub get_all {
	my ($sock) = @_;
	return exchange($sock, '', undef);
}

# n bytes that tell where they stand, so that no shift goes unseen.
sub pattern {
	my ($n) = @_;
	my $bytes = '';
	my $words = int($n / 4) + 1;
	$bytes = pack 'N*', map { ($_ * 2654435761) & 0xffffffff } 0 .. $words;
	return substr $bytes, 0, $n;
}

sub random_bytes {
	my ($n) = @_;
	open my $f, '<:raw', '/dev/urandom' or die $!;
	read($f, my $bytes, $n) == $n or die 'urandom';
	return $bytes;
}

# Bytes as a person may read them in a diagnostic.
sub show {
	my ($bytes, $most) = (@_, 80);
	return 'undef' unless defined $bytes;
	my $text = substr $bytes, 0, $most;
	$text =~ s/([^\x20-\x7e\n])/sprintf '\\x%02x', ord $1/ge;
	return length($bytes) . " bytes: $text";
}

*_line = \&EchoTest::Server::_line;
*EchoTest::Server::_sum = \&_sum;

1;
