package EchoTest;

# The functions that all tests share: running the program, starting servers that
# cannot outlive their test, sockets with a deadline on every step, comparisons
# that print both values, and measurements that are repeated before they fail.
#
# When an assertion fails, the logs of all running servers and the output of
# the last command are printed, each part of a log once.
#
# ECHO_DIR names the folder of the program to test (default: the source tree).

use strict;
use warnings;

use Cwd qw(abs_path);
use Errno qw(EAGAIN EINTR);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Select ();
use IO::Socket::IP ();
use POSIX qw(:sys_wait_h);
use Scalar::Util qw(refaddr weaken);
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw($DEADLINE at_most chroot_prefix closed_port cpu_of_busiest
    descriptors_of dial dial_small end_processes engines engines_but exchange
    exec_form fill flags_of_sends flood get get_all in_own_network in_tree
    io_uring_is_refused is_between is_bytes measure_again median modes
    parallel_engines pattern pattern_at process_gone program put python
    random_bytes refuses_connections reset_connection run_command run_echo
    run_make run_outside_make sanitized seconds_of shimmed show slurp spawn
    start_bench start_command start_server system_has trace_sends usual_engine
    wait_until);

# Deadlines only end a test that hangs. They are long because a busy machine
# may take ten times as long as an idle one.
our $DEADLINE = 30;		# seconds for each single step
my $FILE_DEADLINE = 900;	# seconds for a test file
my $TRIES = 10;			# how often a measurement is made at most
my $LOG_SHOWN = 3000;		# bytes of a log that a failure prints
my $CONTEXT_SHOWN = 20_000;	# bytes that a failure prints in all

my %running;			# weak references to servers, by address
my $last_run = '';		# the last command, until a failure prints it
my $runtime;			# _sanitizer_runtime(), once it is known
my $at_death = '';		# what to print if the test file dies

my $tree = abs_path(dirname(__FILE__) . '/../..');
my $dir = abs_path($ENV{ECHO_DIR} // $tree);

$SIG{PIPE} = 'IGNORE';
# A background shell may ignore these signals, and its programs inherit this.
$SIG{$_} = 'DEFAULT' for qw(HUP INT QUIT TERM);
# The handler exits at once because an eval or a destructor would catch a die.
$SIG{ALRM} = sub {
	print STDERR "the test file took more than $FILE_DEADLINE s\n",
	    _context();
	POSIX::_exit(255);
};
alarm $FILE_DEADLINE;

# The logs are read before die unwinds the stack, which ends the servers. A
# subtest passes the error on by another die.
$SIG{__DIE__} = sub { $at_death = _context() || $at_death };
my $test_process = $$;
END { diag $at_death if $? && $at_death ne '' && $$ == $test_process }

# Every assertion of Test::More ends in this function.
{
	no warnings 'redefine';
	my $ok = \&Test::Builder::ok;
	*Test::Builder::ok = sub {
		local $Test::Builder::Level = $Test::Builder::Level + 1;
		my $passed = $ok->(@_);
		_diag_context() unless $passed || $_[0]->in_todo;
		return $passed;
	};
}

sub _diag_context {
	local ($!, $@, $?);
	my $context = _context();
	diag $context if $context ne '';
	$last_run = '';
	$_->{shown} = -s $_->{log} // 0 for grep { $_ } values %running;
}

# The last command and the new parts of the logs of all servers, for a person
# to read.
sub _context {
	local ($!, $@, $?);
	return substr join('', $last_run, map { $_->_log_to_show }
	    sort { $a->{pid} <=> $b->{pid} } grep { $_ && $_->{pid} }
	    values %running), 0, $CONTEXT_SHOWN;
}

# A file of the source tree.
sub in_tree { "$tree/$_[0]" }

# The program, or a link to it.
sub program { "$dir/" . ($_[0] // 'echo') }

# The engines that serve --help lists, except one that the kernel refuses, and
# one of them once more with two workers.
sub engines {
	my $help = run_echo({ forget => 1 }, 'serve', '--help')->{out};
	$help =~ /^usage: echo serve \[((?:--\w+(?: \| )?)+)\]/
	    or die "no engines in: $help";
	my @engines = grep { $_ ne '--uring' || !io_uring_is_refused() }
	    split / \| /, $1;
	my ($with_workers) = grep { /^--(?:epoll|kqueue)$/ } @engines;
	return @engines, ($with_workers // '--select') . ' --workers=2';
}

# Whether the kernel refuses io_uring. A server that cannot print its listening
# line ends at once.
my $refused;
sub io_uring_is_refused {
	return $refused //= run_echo({ forget => 1, out => '/dev/full' },
	    'serve', '--uring', '-p0')->{err} =~ /refuses io_uring/;
}

# The same without some engines, for loops in which these make no difference.
sub engines_but {
	my %left_out = map { $_ => 1 } @_;
	return grep { !$left_out{$_} } engines();
}

# The same without --blocking, which serves one client at a time.
sub parallel_engines { grep { !/^--blocking\b/ } engines() }

# The engine for tests that need only one: it serves any number of clients, if
# the program has such an engine.
sub usual_engine {
	my ($engine) = grep { /^--(?:epoll|kqueue)$/ } engines();
	return $engine // '--select';
}

# Whether the program has a feature that only Linux has, as its help shows: a
# sandbox, the figures of a process (bench --pid), or abstract names of Unix
# sockets. With "linux", whether the program is compiled for Linux and not with
# PORTABLE=1.
my %shown = (sandbox => ['serve', qr/ --no-sandbox /],
    linux => ['serve', qr/ --epoll /],
    process_figures => ['bench', qr/ --pid=/]);
sub system_has {
	my ($mode, $pattern) = @{ $shown{$_[0]} };
	return run_echo({ forget => 1 }, $mode, '--help')->{out} =~ $pattern;
}

# Splits "--engine --option" into its words and leaves other arguments alone.
sub _words { map { /^--\w+ --\S+$/ ? split / / : $_ } @_ }

# The command that a file in contrib contains as a JSON list after a keyword.
sub exec_form {
	my ($file, $keyword) = @_;
	slurp(in_tree("contrib/$file")) =~ /^$keyword\s*(\[.*?\])/ms
	    or die "no list after $keyword in $file";
	my $list = $1;
	require JSON::PP;	# it takes long to load, and few tests need it
	return @{ JSON::PP::decode_json($list) };
}

# The modes, and the link of each: ( serve => 'echo_server', ... ).
sub modes {
	my %link_of =
	    run_echo({ forget => 1 }, 'help')->{out} =~
	    /^  (\w+) .* \(or (\w+)\)$/mg
	    or die 'no modes in help';
	return %link_of;
}

# Whether the program is built with a sanitizer or to measure coverage. Either
# needs memory and, when the program exits, descriptors and files of its own.
sub sanitized {
	local $ENV{ASAN_OPTIONS} = 'help=1';
	return run_echo({ forget => 1 }, '--version')->{err} =~ /Sanitizer/ ||
	    slurp(program()) =~ /\.gcda\b/;
}

# Removes the line of a server that can have no sandbox, because of a sanitizer
# or of the kernel. Tests look for other lines; t/57-confined.t looks at the
# sandbox itself. LeakSanitizer reports a process that is killed meanwhile.
sub _without_report {
	return $_[0] =~ s/^echo serve: no sandbox: .*\n//mgr =~
	    s/^==\d+==Unable to get registers from thread \d+\.\n//mgr;
}

# The path of the runtime of a sanitizer, if there is one. It has to be loaded
# before t/shim.c.
sub _sanitizer_runtime {
	my $program = program();
	$runtime //= [ `ldd '$program' 2>/dev/null` =~ m{(/\S*libasan\S*)} ];
	return @$runtime;
}

# The command to put in front of the program (wrap) so that t/shim.c injects
# faults.
sub shimmed {
	my ($faults) = @_;
	return ['env', "ECHO_SHIM=$faults", 'LD_PRELOAD=' .
	    join ' ', _sanitizer_runtime(), "$dir/build/t/shim.so"];
}

# The command that runs another one, and writes its sends to a file. (On i386,
# send(2) is not sendto(2) without an address.)
sub trace_sends {
	my ($file) = @_;
	return ('strace', '-qq', '-e', 'trace=sendto,?send', '-o', $file);
}

# The flags of each send in that file that has succeeded.
sub flags_of_sends {
	my ($file) = @_;
	return slurp($file) =~ /^send(?:to)?\(.*, (MSG_\S+?)(?:, NULL, 0)?\) += \d/mg;
}

sub slurp {
	my ($path) = @_;
	open my $f, '<:raw', $path or die "$path: $!";
	local $/;
	return readline($f) // '';
}

# A file without a name, which contains some bytes.
sub _unnamed_file {
	my ($bytes) = @_;
	open my $f, '+>:raw', undef or die "temporary file: $!";
	print $f $bytes;
	seek $f, 0, 0 or die "seek: $!";	# this writes them, too
	return $f;
}

# The bytes that other processes have written to such a file.
sub _content_of {
	my ($f) = @_;
	seek $f, 0, 0 or die "seek: $!";
	local $/;
	return readline($f) // '';
}

# Replaces this process; descriptors are handles or paths.
sub _exec {
	my ($in, $out, $err, @command) = @_;
	open STDIN, ref $in ? '<&' : '<', $in or POSIX::_exit(126);
	open STDOUT, ref $out ? '>&' : '>', $out or POSIX::_exit(126);
	open STDERR, ref $err ? '>&' : '>', $err or POSIX::_exit(126);
	$SIG{PIPE} = 'DEFAULT';
	no warnings "exec";
	exec { $command[0] } @command;
	POSIX::_exit(127);
}

# Runs the program with arguments until it ends and returns { status, signal,
# out, err, time }. The first argument may be a reference to a hash: in (bytes
# for stdin), stdin (a path), out and err (paths or handles; the default is to
# return what is written), program (a link), command (another program), wrap (a
# command in front of it, such as prlimit), deadline (seconds), forget (do not
# print this run when an assertion fails).
sub run_echo {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = _words(@_);
	my $in = $how{stdin} //
	    (defined $how{in} ? _unnamed_file($how{in}) : '/dev/null');
	my ($out, $err) = map { $how{$_} // _unnamed_file('') } qw(out err);
	my @command = (@{ $how{wrap} // [] },
	    $how{command} // program($how{program}), @args);
	my $start = time;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		# The alarm survives exec, so that the program always ends.
		alarm($how{deadline} // 4 * $DEADLINE);
		# The search for leaks takes longer than most runs, and a run
		# that ends by itself needs no memory for long. Servers in the
		# background are still searched (start_command).
		$ENV{ASAN_OPTIONS} //= 'detect_leaks=0';
		_exec($in, $out, $err, @command);
	}
	waitpid $pid, 0;
	my $status = $?;
	my $run = {
		status => WIFEXITED($status) ? WEXITSTATUS($status) : -1,
		signal => WIFSIGNALED($status) ? WTERMSIG($status) : 0,
		out => defined $how{out} ? '' : _content_of($out),
		err => defined $how{err} ? '' : _without_report(_content_of($err)),
		time => time - $start
	};
	$last_run = "last command: @command\nexit status $run->{status}, " .
	    "signal $run->{signal}\nstdout, " .
	    show($run->{out}, $LOG_SHOWN) . "\nstderr, " .
	    show($run->{err}, $LOG_SHOWN) . "\n" unless $how{forget};
	return $run;
}

# Runs another command as run_echo runs the program. The status is 127 if the
# command does not exist.
sub run_command {
	my %how = ref $_[0] ? %{ +shift } : ();
	my ($command, @args) = @_;
	return run_echo({ %how, command => $command }, @args);
}

# Runs a command that builds something, without the variables that the make which
# runs the tests has exported, and without those of its user for the build.
sub run_outside_make {
	my @variables = qw(MAKEFLAGS MFLAGS MAKELEVEL ECHO_DIR CFLAGS V
	    KQUEUE PORTABLE SYSTEM);
	local @ENV{@variables};
	delete @ENV{@variables};
	return run_command({ deadline => 10 * $DEADLINE }, @_);
}

# The command that runs Python 3, which starts faster without site packages, or
# an empty list. (The python3 in PATH may be a script that searches for Python.)
sub python {
	my $run = run_command('python3', '-c',
	    'import sys; print(sys.executable)');
	return $run->{status} == 0 && $run->{out} =~ /(.+)/ ?
	    ($1, '-I', '-S', '-u') : ();
}

# Runs make in a folder.
sub run_make {
	my ($folder, @args) = @_;
	return run_outside_make('make', '-s', '-C', $folder, @args);
}

# The words to put in front of a command so that it runs under chroot in a
# folder, which contains the program as /echo. The list is empty where chroot is
# not permitted.
sub chroot_prefix {
	my ($root) = @_;
	for (['chroot', $root], ['unshare', '-r', 'chroot', $root]) {
		my $run = run_command(@$_, '/echo', '--version');
		return @$_ if $run->{status} == 0;
	}
	return;
}

# Starts an echo server on a port that the system chooses. The environment
# variable ECHO_SERVE contains options for every server.
sub start_server {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = _words(@_);
	unshift @args, split ' ', $ENV{ECHO_SERVE} // '';
	push @args, '--port=0'
	    unless $how{no_port} || grep { /^(-p|--port)/ } @args;
	return start_command({ %how, name => "serve @args" },
	    @{ $how{wrap} // [] }, program('echo'), 'serve', @args);
}

# Starts a command that prints "listening on ADDRESS" to stdout, and waits for
# that line. Options: name, log (a path or handle for stderr), listeners (the
# number of lines to wait for), no_wait, pass (handles without close-on-exec
# that the command inherits).
#
# The command is the child of a keeper process, which kills it when the test
# ends for any reason: the keeper then reads end of file from a pipe whose
# other end only the test holds.
sub start_command {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @command = @_;
	my $self = bless {
		name => $how{name} // "@command",
		tmp => File::Temp->newdir,
		shown => 0		# bytes of the log already printed
	}, 'EchoTest::Server';
	$self->{log} = "$self->{tmp}/log";
	pipe my $life, $self->{life} or die $!;
	pipe $self->{out}, my $out or die $!;
	pipe $self->{result}, my $result or die $!;
	my $log = $how{log} // $self->{log};	# a path or a handle
	my $keeper = fork // die "fork: $!";
	if ($keeper == 0) {
		alarm 0;
		_close_except($life, $out, $result, ref $log ? $log : (),
		    @{ $how{pass} // [] });
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

# To be called in each child: only the test itself may hold the pipes whose end
# of file makes the keepers kill their servers.
sub let_go {
	close $_->{life} for grep { $_ && $_->{life} } @_, values %running;
}

# Closes all descriptors except the standard ones and these, so that a keeper
# holds no socket of the test open.
sub _close_except {
	my %keep = map { fileno $_ => 1 } @_;
	opendir my $d, '/dev/fd' or return let_go();
	POSIX::close($_) for grep { /^\d+$/ && $_ > 2 && !$keep{$_} }
	    readdir $d;
}

sub _keep {
	my ($life, $out, $result, $log, @command) = @_;
	local $SIG{CHLD} = sub { };	# so that it interrupts the select
	$SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
	my $pid = fork // POSIX::_exit(125);
	if ($pid == 0) {
		# A group of its own, so that its children can be killed, too.
		setpgrp;
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP CHLD);
		_exec('/dev/null', $out, $log, @command);
	}
	close $out;
	syswrite $result, "$pid\n";
	my $left = IO::Select->new($life);
	until (waitpid($pid, WNOHANG) > 0) {
		# SIGCHLD may come before the select, which then waits.
		next unless $left->can_read(0.5);
		kill KILL => -$pid;
		waitpid $pid, 0;
		last;
	}
	syswrite $result, "$?\n";
}

sub EchoTest::Server::_line {
	my ($self, $from) = @_;
	my $line = '';
	my $until = time + $DEADLINE;
	my $select = IO::Select->new($from);
	while ($line !~ /\n/) {
		my $left = $until - time;
		last if $left <= 0 || !$select->can_read($left);
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
sub EchoTest::Server::_raw_log { -e $_[0]{log} ? slurp($_[0]{log}) : '' }
sub EchoTest::Server::log { _without_report($_[0]->_raw_log) }
sub EchoTest::Server::signal { kill $_[1] => $_[0]{pid} }

# The part of the log that no failure has printed yet, for a person to read: at
# most its last bytes.
sub EchoTest::Server::_log_to_show {
	my ($self) = @_;
	my $log = substr $self->_raw_log, $self->{shown};
	my $skipped = length($log) - $LOG_SHOWN;
	return '' if $log eq '';
	return "log of $self->{name}" .
	    ($self->{shown} ? ', continued' : '') . ', ' .
	    ($skipped > 0 ? "without $skipped bytes, then " : '') .
	    show(substr($log, $skipped > 0 ? $skipped : 0), $LOG_SHOWN) .
	    "\n";
}

# Waits until the log contains n matches of a pattern (default: one). Returns
# false after the deadline.
sub EchoTest::Server::wait_log {
	my ($self, $what, $n) = (@_, 1);
	return 1 if defined wait_until(sub {
		$n <= (() = $self->log =~ /$what/g)
	});
	diag "not $n times $what in the log of $self->{name}:\n",
	    show($self->log, $LOG_SHOWN);
	return 0;
}

# The process ids of the server's workers, if it has any.
sub EchoTest::Server::workers {
	my ($self) = @_;
	return split ' ',
	    slurp("/proc/$self->{pid}/task/$self->{pid}/children");
}

# The process ids of the server and its workers.
sub EchoTest::Server::processes { ($_[0]{pid}, $_[0]->workers) }

# Limits the number of descriptors of each of the server's processes. Returns
# false where prlimit(1) is missing or not permitted.
sub EchoTest::Server::limit_descriptors {
	my ($self, $n) = @_;
	return !grep { system('prlimit', "--nofile=$n:", '--pid', $_) != 0 }
	    $self->processes;
}

# The number of open descriptors of a process; undef if it cannot be read.
sub descriptors_of {
	my ($pid) = @_;
	opendir my $d, "/proc/$pid/fd" or return undef;
	return scalar grep { !/^\./ } readdir $d;
}

# The memory that a process has for itself, in bytes; undef if it cannot be
# read. Pages of the program and of libraries do not count. smaps_rollup is
# exact; what status tells may be 64 pages off for each processor (proc(5)).
sub _memory_of {
	my ($pid) = @_;
	my $memory = eval { slurp("/proc/$pid/smaps_rollup") } //
	    eval { slurp("/proc/$pid/status") } // '';
	return $memory =~ /^(?:Anonymous|RssAnon):\s+(\d+) kB/m ?
	    1024 * $1 : undef;
}

# The processor time that a process has used, in seconds.
sub _cpu_of {
	my ($pid) = @_;
	my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/.*\) //r;
	return ($stat[11] + $stat[12]) /
	    POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# The sum of a measurement over all processes; undef if a value cannot be read.
sub _sum {
	my ($measure, @pids) = @_;
	my $sum = 0;
	$sum += $measure->($_) // return undef for @pids;
	return $sum;
}

# The open descriptors, the memory in bytes and the processor time in seconds
# of all the server's processes together.
sub EchoTest::Server::descriptors { _sum(\&descriptors_of, $_[0]->processes) }
sub EchoTest::Server::memory { _sum(\&_memory_of, $_[0]->processes) }
sub EchoTest::Server::cpu { _sum(\&_cpu_of, $_[0]->processes) }

# The processor seconds that the busiest of several servers uses in a time.
sub cpu_of_busiest {
	my ($seconds, @servers) = @_;
	my @before = map { $_->cpu } @servers;
	sleep $seconds;
	my @used = map { $servers[$_]->cpu - $before[$_] } 0 .. $#servers;
	return (sort { $b <=> $a } @used)[0];
}

# Waits until the server has ended. Returns the wait status, or undef after the
# deadline.
sub EchoTest::Server::wait {
	my ($self) = @_;
	return $self->{status} if defined $self->{status};
	my $line = $self->_line($self->{result});
	return undef if $line eq '';
	close $self->{life};
	waitpid $self->{keeper}, 0;
	return $self->{status} = $line;
}

# Sends a signal (default TERM; undef: none) and asserts that the server then
# ends with exit status 0 and that its log contains only expected lines, so no
# report of a sanitizer.
sub EchoTest::Server::stop {
	my ($self, $signal) = (@_, 'TERM');
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->signal($signal) if defined $signal;
	my $status = $self->wait;
	my @stray = grep { !$self->_expects($_) } split /\n/, $self->log;
	my $result = 'wait status ' . ($status // 'none (still running)');
	$result .= ", unexpected line: $stray[0]" if @stray;
	return is $result, 'wait status 0',
	    "$self->{name} ends without an error";
}

# Whether a line of the log is expected; allow() adds patterns.
sub EchoTest::Server::_expects {
	my ($self, $line) = @_;
	return 1 if $line =~ /^stopping: \d+ clients? under way, for at most /;
	return 1 if $line =~ /^served \d+ clients?, \d+ bytes?(?:; answered .*)?$/;
	return 1 if $line =~ /^\d+ more datagrams? not logged$/;
	return 1 if $line =~ /^\S+:\d+ (?:\(via \S+:\d+\) )?(connected$|received |read |closed |sent )/;
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

# Runs a function in a child process, which ends at the latest by its own alarm.
# Returns its process id.
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

# Starts bench in the background, with a pipe as its stdout. Returns its process
# id and the pipe. Options: err (a path for stderr), full (the pipe is full from
# the start).
sub start_bench {
	my %how = ref $_[0] ? %{ +shift } : ();
	my @args = @_;
	pipe my $out, my $write or die $!;
	if ($how{full}) {
		$write->blocking(0);
		1 while syswrite $write, 'x' x 512;
		$write->blocking(1);
	}
	unlink $how{err} if $how{err};
	my $pid = spawn(sub {
		open STDOUT, '>&', $write;
		open STDERR, '>', $how{err} // '/dev/null';
		exec program('echo'), 'bench', @args or die $!;
	});
	return ($pid, $out);
}

# Kills child processes and waits for them.
sub end_processes {
	kill KILL => @_;
	waitpid $_, 0 for @_;
}

# A client that writes without end, and reads in another process. Returns the
# ids of both.
sub flood {
	my ($server) = @_;
	my $sock = dial($server);
	$sock->blocking(1);
	my $block = 'x' x 65536;
	return spawn(sub { 1 while syswrite $sock, $block }),
	    spawn(sub { 1 while sysread $sock, $block, 65536 });
}

# Connects to "host:port" or to a server.
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

# Writes $out and reads at the same time until $want bytes have arrived (undef:
# until end of file). Returns the bytes that arrived and, in list context, how
# it ended: 'done', 'eof', 'late' or the text of an errno. Options: half_close
# (send FIN after the last byte), piece and take (the most bytes of one write
# and one read), deadline (seconds).
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

# Writes all bytes. Returns whether that succeeded.
sub put {
	my ($sock, $bytes) = @_;
	my (undef, $end) = exchange($sock, $bytes, 0);
	return $end eq 'done';
}

sub get {
	my ($sock, $n) = @_;
	return exchange($sock, '', $n);
}

# Reads until end of file. Returns the bytes and how it ended.
sub get_all {
	my ($sock) = @_;
	return exchange($sock, '', undef);
}

# Writes the repetitions of a block, from an offset on (default 0), and reads
# nothing, until the socket has accepted no byte for some seconds. Returns the
# offset that it reached.
sub fill {
	my ($sock, $block, $seconds, $sent) = (@_, 0);
	my $until = time + $DEADLINE;
	while (IO::Select->new($sock)->can_write($seconds) && time < $until) {
		my $at = $sent % length $block;
		$sent += syswrite($sock, $block, length($block) - $at, $at) //
		    0;
	}
	return $sent;
}

# Closes a connection by a RST.
sub reset_connection {
	my ($sock) = @_;
	setsockopt $sock, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
	close $sock;
}

# A port at which connections are refused, because the socket that holds it does
# not listen. Returns the socket, which must be kept, and the address. (The port
# of a server that has ended may belong to another one at once.)
sub closed_port {
	socket my $sock, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
	bind $sock, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
	my ($port) = unpack_sockaddr_in(getsockname $sock);
	return ($sock, "127.0.0.1:$port");
}

# Runs the rest of the test file in a network namespace of its own, with these
# settings of net.ipv4: ( tcp_wmem => '4096 4096 4096' ). Returns why that is
# not possible, or nothing.
sub in_own_network {
	my (%settings) = @_;
	my @namespace = ('unshare', $> == 0 ? '-n' : '-rn');
	unless ($ENV{ECHO_TEST_NETWORK}) {
		return 'no network namespace to be had here'
		    if run_command(@namespace, 'true')->{status} != 0;
		$ENV{ECHO_TEST_NETWORK} = 1;
		exec @namespace, $^X, $0 or die $!;
	}
	return 'the loopback interface cannot be set up here' if
	    run_command('ip', 'link', 'set', 'lo', 'up')->{status} != 0;
	for (sort keys %settings) {
		open my $file, '>', "/proc/sys/net/ipv4/$_" or
		    return "$_ cannot be set here";
		print $file "$settings{$_}\n";
		close $file or return "$_ cannot be set here";
	}
	return;
}

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

# Whether connections to the server's port are refused.
sub refuses_connections {
	my ($server) = @_;
	return !IO::Socket::IP->new(PeerHost => '127.0.0.1',
	    PeerPort => $server->port, Timeout => $DEADLINE);
}

# Whether a process has ended; a zombie has.
sub process_gone {
	my ($pid) = @_;
	return !-e "/proc/$pid" ||
	    (eval { slurp("/proc/$pid/stat") } // ') Z') =~ /\) [ZX]/;
}

# n bytes in which each word of four bytes depends on its offset, so that a
# shift is noticed. Each block of 64 KiB is the first one, with its own word
# added (XOR) to all words.
my $BLOCK = 65536;
my $first_block = pack 'N*', map { ($_ * 2654435761) & 0xffffffff }
    0 .. $BLOCK / 4 - 1;

sub pattern {
	my ($n) = @_;
	my $bytes = '';
	for my $i (0 .. ($n - 1) / $BLOCK) {
		my $word = ($i * 2654435761 * 65537) & 0xffffffff;
		$bytes .= $first_block ^ pack('N', $word) x ($BLOCK / 4);
	}
	return substr $bytes, 0, $n;
}

sub random_bytes {
	my ($n) = @_;
	open my $f, '<:raw', '/dev/urandom' or die $!;
	read($f, my $bytes, $n) == $n or die 'urandom';
	return $bytes;
}

# The bytes at an offset of the endless repetition of a pattern.
sub pattern_at {
	my ($block, $from, $size) = @_;
	my $at = $from % length $block;
	return substr $block x (1 + ($at + $size) / length $block), $at, $size;
}

sub seconds_of {
	my ($work) = @_;
	my $start = time;
	$work->();
	return time - $start;
}

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[@sorted / 2];
}

# Waits until a condition holds. Returns the seconds that this took, or undef
# after the deadline.
sub wait_until {
	my ($condition) = @_;
	my $start = time;
	until ($condition->()) {
		return undef if time - $start > $DEADLINE;
		sleep 0.005;
	}
	return time - $start;
}

# Repeats a measurement until its value is good, because another process may
# have had the processor. Returns the last value.
sub measure_again {
	my ($measure, $good) = @_;
	my $value;
	for (1 .. $TRIES) {
		$value = $measure->();
		last if $good->($value);
	}
	return $value;
}

# Asserts that a measurement is at most a limit in one of ten tries. An
# undefined value (the measurement itself failed) is not measured again.
sub at_most {
	my ($limit, $measure, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @values;
	measure_again(sub { push @values, $measure->(); $values[-1] },
	    sub { !defined $_[0] || $_[0] <= $limit });
	my $passed = defined $values[-1] ?
	    cmp_ok($values[-1], '<=', $limit, $name) : fail $name;
	return $passed ||
	    diag 'measured: ', join ', ', map { $_ // 'undef' } @values;
}

# Asserts that a number lies within limits.
sub is_between {
	my ($got, $low, $high, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(defined $got && $got >= $low && $got <= $high, $name) ||
	    diag '         got: ', $got // 'undef',
	    "\n    expected: $low to $high";
}

# Asserts that two byte strings are equal. Shows their sizes and the bytes
# around the first difference.
sub is_bytes {
	my ($got, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok 1, $name if defined $got && $got eq $expected;
	ok 0, $name;
	($got ^ $expected) =~ /^\0*/ if defined $got;
	my $at = defined $got ? $+[0] : 0;
	my $from = $at < 16 ? 0 : $at - 16;
	diag "first difference at offset $at, shown from offset $from";
	diag "$_->[0] ", !defined $_->[1] ? 'undef' :
	    length($_->[1]) . ' bytes: ' . _visible(substr $_->[1],
	    $from < length $_->[1] ? $from : length $_->[1], 48)
	    for ['        got:', $got], ['   expected:', $expected];
	return 0;
}

sub _visible { $_[0] =~ s/([^\x20-\x7e])/sprintf '\x%02x', ord $1/ger }

# The first bytes of a text, for a person to read in a diagnostic.
sub show {
	my ($bytes, $most) = (@_, 80);
	return 'undef' unless defined $bytes;
	my $text = substr $bytes, 0, $most;
	$text =~ s/([^\x20-\x7e\n])/sprintf '\\x%02x', ord $1/ge;
	return length($bytes) . " bytes: $text";
}

1;
