# The judge: it passes every right server, and of each wrong one fails just the
# tests that are about what is wrong, with a word on what it may be.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Socket::INET ();
use POSIX ();
use Storable qw(nstore retrieve);
use TAP::Parser;
use Test::More;
use WrongServers;

my $TIMEOUT = 2;		# seconds, for those who do not answer
my $AT_ONCE = 6;		# servers that are judged at the same time
my $MORE = 20;			# seconds that all the rest may take, at worst

my $tmp = File::Temp->newdir;

sub check {
	my %how = ref $_[0] eq 'HASH' ? %{ +shift } : ();
	my ($server, @args) = @_;
	return run_echo({ deadline => 90, %how }, 'check', @args,
	    ref $server ? $server->address : $server);
}

# What a run says, read as TAP: { plan, passed, failed, skipped, said, errors }
# with the names of the tests, and for those that failed their YAML.
sub verdict {
	my ($run) = @_;
	my %v = (failed => [], passed => [], skipped => []);
	my $parser = TAP::Parser->new({ tap => $run->{out} });
	while (my $result = $parser->next) {
		if ($result->is_test) {
			my $name = $result->description =~ s/^- //r;
			push @{ $v{ !$result->is_ok ? 'failed' :
			    $result->has_skip ? 'skipped' : 'passed' } }, $name;
			$v{reason}{$name} = $result->explanation;
			$v{last} = $name;
		} elsif ($result->is_yaml) {
			$v{said}{ $v{last} } = $result->data;
		} elsif ($result->is_bailout) {
			$v{bailout} = $result->explanation;
		}
	}
	$v{plan} = $parser->tests_planned;
	$v{version} = $parser->version;
	$v{errors} = [ $parser->parse_errors ];
	return \%v;
}

# Asserts the exit status and which tests failed; the rest has to pass.
sub judged {
	my ($run, $status, $failed, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $v = verdict($run);
	my $well = $run->{status} == $status && $run->{err} eq '' &&
	    "@{ $v->{failed} }" eq "@$failed" && !@{ $v->{errors} } &&
	    !@{ $v->{skipped} } && $v->{version} == 13;
	ok $well, $name or diag
	    "exit status $run->{status}, signal $run->{signal}\n",
	    "failed: @{ $v->{failed} }\nshould:  @$failed\n",
	    map({ "TAP: $_\n" } @{ $v->{errors} }),
	    "stderr: $run->{err}stdout: ", show($run->{out}, 6000);
	return $v;
}

# The list, on which all that follows is based.
my %profile;
my @tests;
{
	my $list = check(':1', '--list');
	is $list->{status}, 0, '--list: exit status';
	for (split /\n/, $list->{out}) {
		like $_, qr/^[\w-]+ +(homework|rfc862|robust) +\S.*$/,
		    "--list: $_";
		my ($name, $profile) = split;
		ok !$profile{$name}, "$name is there once";
		$profile{$name} = $profile;
		push @tests, $name;
	}
}
my @homework = grep { $profile{$_} eq 'homework' } @tests;
my @rfc862 = grep { $profile{$_} ne 'robust' } @tests;

# All tests but these.
sub but {
	my %left = map { $_ => 1 } @_;
	$profile{$_} or die "no test $_" for @_;
	return grep { !$left{$_} } @tests;
}

# Right servers.
for my $engine (engines()) {
	my $server = start_server($engine);
	my @profiles = $engine eq '--blocking' ? 'homework' :
	    qw(homework rfc862 robust);
	for my $profile (@profiles) {
		my $run = check($server, "--profile=$profile");
		my $v = judged($run, 0, [], "$engine: $profile");
		my %its = (homework => \@homework, rfc862 => \@rfc862,
		    robust => \@tests);
		is "@{ $v->{passed} }", "@{ $its{$profile} }",
		    "$engine: $profile: the tests of this profile";
		cmp_ok $run->{time}, '<', 10, "$engine: $profile: in time";
	}
	is verdict(check($server))->{plan}, scalar @rfc862,
	    "$engine: rfc862 is the default" if $engine ne '--blocking';
	$server->stop;
}
my %arguments = ('starts-slowly' => 0.2);	# seconds
judged(check(start_wrong($_, $arguments{$_} // ()), '--profile=homework'), 0,
    [], "server that $_: homework") for right_servers();

# Wrong servers: how each is started, what fails (with a question mark: what
# may fail, as the machine is busy or not), and what is said of it: a
# pattern for the message of the first that fails, or for those of some.
my @stream = but(@homework, qw(no-banner empty));
my @bulk = qw(bytes-65536 bytes-1M fin-1M write-first no-stall odd-pieces
    bytes-64M);
my @megabytes = grep { $_ ne 'bytes-65536' } @bulk;
my @ends = qw(fin fin-1M empty fin-100 bytes-64M);
my @wrong = (
	[ [ 'plain' ], [] ],
	[ [ 'flip', 11 ], [ but(qw(bytes-1 no-banner empty)) ],
	    { 'every-byte' =>
	    qr/^one byte changed: 0x0a became 0x09 at offset 10$/ } ],
	[ [ 'flip', 70_001 ], \@megabytes,
	    qr/^one byte changed: 0x\w\w became 0x\w\w at offset 70000$/ ],
	[ [ 'flip', 40_000_001 ], [ 'bytes-64M' ], qr/at offset 40000000$/ ],
	[ [ 'twice' ], [ but(qw(no-banner empty)) ],
	    qr/^the whole message came twice$/,
	    { 'two-bursts' => qr/^70 bytes were doubled at offset 0$/ } ],
	[ [ 'upper' ], [ but(qw(no-banner empty)) ],
	    qr/^lower case became upper case$/ ],
	[ [ 'banner' ], \@tests, qr/^11 unexpected bytes came before the echo: a banner\?$/,
	    { 'no-banner' => qr/^11 bytes came before the client had sent any/ } ],
	[ [ 'one-recv', 100 ], \@stream,
	    qr/^(closed|reset .*) after 100 of 256 bytes: one recv per conn/ ],
	[ [ 'one-recv', 4096 ], [ but(@homework, qw(no-banner every-byte
	    bytes-4096 fin empty one-by-one second-client resets)) ],
	    qr/^(closed|reset .*) after 4096 of 65536 bytes: one recv per / ],
	[ [ 'lines' ], [ but(qw(line no-banner fin fin-1M empty fin-100
	    bytes-64M)) ], qr/: does the server read lines\?$/ ],
	[ [ 'ascii' ], [ qw(utf8 every-byte) ],
	    qr/^bytes above 127 were dropped/ ],
	[ [ 'utf8' ], [ 'every-byte' ], qr/does the server decode text\?$/ ],
	[ [ 'strip' ], [ 'line' ], qr/^a newline was dropped$/ ],
	[ [ 'nul' ], [ 'every-byte' ], qr/^a NUL byte was dropped/ ],
	[ [ 'c-string' ], [ 'every-byte' ], qr/^the bytes from a NUL byte on/ ],
	[ [ 'crlf' ], [ qw(line every-byte) ], qr/^a CR was inserted before a new/ ],
	[ [ 'loses', 4096, 16 ], [ qw(bytes-65536 bytes-1M fin-1M fin-100
	    50-at-once write-first no-stall odd-pieces bytes-64M) ],
	    qr/^16 bytes were lost at offset 4096$/ ],
	[ [ 'doubles' ], \@bulk, { 'bytes-1M' =>
	    qr/^65536 bytes were doubled at offset 0$/ } ],
	[ [ 'swaps' ], \@bulk, { 'bytes-1M' =>
	    qr/^blocks of 32768 and 32768 bytes were swapped at offset 0$/ } ],
	[ [ 'reverses' ], \@bulk, { 'bytes-1M' =>
	    qr/^a block of 65536 bytes came back in reverse order at offset 0$/ } ],
	[ [ 'forgets-at-eof' ], [ qw(fin fin-1M fin-100 bytes-64M) ],
	    qr/does the server drop pending output at end of file\?$/ ],
	[ [ 'stays-open' ], \@ends, qr/^did not close after the client's end/ ],
	[ [ 'resets-at-eof' ], \@ends, qr/^reset the connection instead of closing it/ ],
	[ [ 'mute' ], [ but('no-banner') ], qr/^did not answer$/,
	    { 'bytes-13' => qr/^not tried: .*did not answer bytes-1$/ } ],
	[ [ 'never-reads' ], [ but('no-banner') ], qr/^did not answer$/ ],
	[ [ 'answers-at-eof' ], [ but(qw(no-banner fin fin-1M empty fin-100
	    bytes-64M)) ], qr/: does the server read until then/ ],
	[ [ 'closes-at-once' ], [ but('empty') ], qr/without an answer$/ ],
	[ [ 'one-at-a-time' ], [ qw(second-client 50-at-once no-stall) ],
	    qr/: one client at a time\?$/ ],
	[ [ 'one-client-only' ], [ but('bytes-1') ],
	    { 'no-banner' => qr/^connection refused: has the server ended/ } ],
	[ [ 'stops-at-pause' ], [ 'two-bursts' ], qr/ after a pause$/ ],
	[ [ 'blocking-write' ], [ 'no-stall' ], qr/does it wait for each\?$/ ],
	# How much fits without waiting is up to the kernel.
	[ [ 'short-write' ], [ qw(write-first no-stall bytes-1M? fin-1M?
	    odd-pieces? bytes-64M?) ], { 'write-first' => qr/lost/ } ],
	[ [ 'extra' ], [ but(qw(no-banner empty)) ],
	    qr/^1 surplus byte came after the message$/ ]
);

# One judgement in the background, and its result.
sub begin {
	my ($case, $n) = @_;
	my $server = start_wrong(@{ $case->[0] });
	my $result = "$tmp/$n";
	my $pid = spawn(sub {
		nstore(check($server, '--profile=robust', "-t$TIMEOUT"),
		    $result);
	});
	return { case => $case, server => $server, pid => $pid,
	    result => $result };
}

sub finish {
	my ($begun) = @_;
	my ($command, $failed, @says) = @{ $begun->{case} };
	waitpid $begun->{pid}, 0;
	my $run = retrieve($begun->{result});
	my %did = map { $_ => 1 } @{ verdict($run)->{failed} };
	my %may = map { s/\?\z//r => scalar(/\?\z/) } @$failed;
	my @failed = grep { exists $may{$_} && ($did{$_} || !$may{$_}) } @tests;
	my $name = "server that @$command";
	my $v = judged($run, @failed ? 1 : 0, \@failed, $name);
	for my $says (@says) {
		my %says = ref $says eq 'HASH' ? %$says : ($failed[0] => $says);
		like $v->{said}{$_}{message}, $says{$_}, "$name: $_"
		    for sort keys %says;
	}
	is $begun->{server}->log, '', "$name: works as it should";
	return ($run, $v);
}

my %took;
{
	my ($n, @running) = 0;
	for my $case (@wrong, (undef) x $AT_ONCE) {
		if (@running == $AT_ONCE || !defined $case && @running) {
			my $done = shift @running;
			my ($run, $v) = finish($done);
			$took{ $done->{case}[0][0] } = $run->{time};
		}
		push @running, begin($case, $n++) if $case;
	}
}
cmp_ok $took{$_}, '<', $TIMEOUT + $MORE, "server that $_: one deadline"
    for qw(mute never-reads lines);	# of whom 20 tests and more wait

# What is under a failure.
{
	my $server = start_wrong('flip', 11);
	my $run = check($server, '--only=bytes-13');
	my $said = verdict($run)->{said}{'bytes-13'};
	is_deeply [ sort keys %$said ],
	    [ qw(after ended expected got message offset sent) ],
	    'YAML under a failure';
	is $said->{sent}, '13 of 13 bytes, then end of file', 'sent';
	is $said->{expected}, 'cdefghijklm', 'expected';
	is $said->{got}, 'cdefghijhlm', 'got';
	is $said->{offset}, 10, 'offset';
	like $said->{after}, qr/^\d+\.\d m?s$/, 'after';
	like $run->{out}, qr/^# \S+: 1 of 1 test failed$/m, 'the sum of it';
}
{
	my $server = start_wrong('crlf');
	my $run = check($server, '--only=every-byte');
	like $run->{out}, qr/^  got: "[^"]*\\x09\\x0d\\x0a[^"]*"$/m,
	    'bytes that are no text are escaped';
}

# Which tests are made.
my $server = start_server('--select');
my $address = $server->address;
{
	my $run = check($server, '--only=line,bytes-64M', '--only', 'bytes-1');
	is "@{ verdict($run)->{passed} }", 'bytes-1 line bytes-64M',
	    '--only: of all profiles, in order';
	my $v = verdict(check($server, '--profile=homework',
	    '--skip=utf8,line', '--skip=again'));
	is "@{ $v->{skipped} }", 'utf8 line again', '--skip';
	is $v->{plan}, scalar @homework, '--skip: the plan counts them';
	like $v->{reason}{utf8}, qr/--skip/, '--skip: it is said why';
}

# Where the server is, and what is said of the work.
{
	my $port = $server->port;
	my $only = '--only=bytes-1';
	judged(run_echo('check', $only, @$_), 0, [], "address: @$_")
	    for [ $address ], [ "localhost:$port" ], [ ":$port" ],
	    [ '-p', $port ], [ '127.0.0.1', "--port=$port" ],
	    [ '-a', $address ], [ "--address=$address" ];
	judged(run_echo({ program => 'echo_check' }, $only, $address), 0, [],
	    'echo_check');
	like check($server, $only, '-v')->{err}, qr/\Abytes-1 took \S+ m?s\n\z/,
	    '-v: how long it took';
	judged(check($server, $only, '-q'), 0, [], '-q: not a word');
}

# A descriptor less than it takes.
{
	my @few = ('sh', '-c', 'ulimit -n 20 && exec "$@"', 'sh');
	my $v = verdict(check({ wrap => \@few }, $server,
	    '--only=50-at-once,second-client'));
	is "@{ $v->{passed} } - @{ $v->{skipped} }",
	    'second-client - 50-at-once', 'no descriptors: skipped';
	like $v->{reason}{'50-at-once'}, qr/open files/, 'and why';
}

# As prove runs it.
sub prove {
	my ($address) = @_;
	my $program = program();
	return run_echo({ command => $^X }, '-MApp::Prove', '-e',
	    'my $p = App::Prove->new; $p->process_args(@ARGV); ' .
	    'exit($p->run ? 0 : 1)', '--', '--norc', '-e',
	    "$program check --profile=homework", $address);
}
{
	my $run = prove($address);
	is $run->{status}, 0, 'prove: exit status';
	my $n = @homework;
	like $run->{out}, qr/^Files=1, Tests=$n,.*^Result: PASS$/ms,
	    'prove: passed' or diag show($run->{out} . $run->{err}, 2000);
	my $wrong = start_wrong('strip');
	$run = prove($wrong->address);
	is $run->{status}, 1, 'prove: exit status for a wrong server';
	like $run->{out}, qr/Failed test: +10\n.*^Result: FAIL$/ms,
	    'prove: failed' or diag show($run->{out} . $run->{err}, 2000);
}

# What cannot be written is not a success.
SKIP: {
	skip 'no /dev/full', 2 unless -c '/dev/full';
	for my $args ([], [ '--list' ]) {
		my $run = run_echo({ out => '/dev/full' }, 'check', @$args,
		    $address);
		ok $run->{status} == 7 &&
		    $run->{err} =~ /\Aecho check: cannot write [^\n]+\n\z/,
		    "/dev/full @$args" or
		    diag "status $run->{status}: $run->{err}";
	}
}
$server->stop;

# The servers of the README, in another language: a wrong one, and how it is
# put right.
SKIP: {
	skip 'no python3', 2 if system('python3 -c "" 2>/dev/null') != 0;
	my ($code, $fixed) = slurp(in_tree('README')) =~
	    /^```python\n(.*?)^```$/gms;
	my ($wrong, $right) = ($code, $code);
	# What is to be replaced has one line more than what it is replaced by.
	my ($from) = $code =~ /^(        data = .*)\z/ms;
	substr $right, index($right, $from), length $from, $fixed;
	for my $server ([ $wrong, [ 'bytes-4096', 'two-bursts' ] ],
	    [ $right, [] ]) {
		my ($source, $failed) = @$server;
		$source =~ s/, 10000\)\)$/, 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)/m
		    or die 'no server in the README';
		my $python = start_command('python3', '-c', $source);
		judged(check($python, '--only=line,bytes-4096,two-bursts'),
		    @$failed ? 1 : 0, $failed, @$failed ?
		    'the wrong server of the README' : 'the right one');
	}
}

# Nobody there.
sub bails_out {
	my ($to, $status, $why, @args) = @_;
	my $run = check(ref $args[0] ? shift @args : {}, $to, @args);
	my $v = verdict($run);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok $run->{status} == $status && $v->{plan} == @rfc862 &&
	    ($v->{bailout} // '') =~ $why &&
	    $run->{err} eq "echo check: $v->{bailout}\n",
	    "bails out: $why" or diag
	    "status $run->{status}, should be $status\n",
	    show($run->{out}, 500), show($run->{err}, 500);
}
{
	my $free = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    LocalPort => 0, Proto => 'tcp') or die $@;	# no listen: refused
	my $port = $free->sockport;
	local $ENV{RES_OPTIONS} = 'timeout:1 attempts:1';
	bails_out("127.0.0.1:$port", 4,
	    qr/cannot connect to 127\.0\.0\.1:$port: Connection refused/);
	bails_out('nosuch.invalid', 3, qr/cannot resolve "nosuch\.invalid": /);
	my $full = full_backlog();
	SKIP: {
		skip 'the backlog cannot be filled here', 1 if !$full;
		bails_out($full->{address}, 5, qr/timed out/, '-t300ms');
	}
	# In a network of our own, which leads nowhere.
	my @nowhere = ('unshare', '-rn');
	SKIP: {
		skip 'no network of our own here', 1
		    if system("@nowhere true >/dev/null 2>&1") != 0;
		bails_out('192.0.2.1:7', 6, qr/unreachable/,
		    { wrap => \@nowhere });
	}
}

# Usage.
for my $case ([ qr/--profile: "rfc" .*homework, rfc862 or robust/,
    '--profile=rfc' ], [ qr/--only: .*"byte-1".*--list/, '--only=byte-1' ],
    [ qr/--skip: .*"nope"/, '--skip=line,nope' ],
    [ qr/--only: .*""/, '--only=line,' ], [ qr/--timeout/, '-t0' ],
    [ qr/two addresses/, '-a', ':1', ':2' ], [ qr/":3"/, ':2', ':3' ],
    [ qr/cannot connect to \*/, '*' ]) {
	my ($says, @args) = @$case;
	my $run = run_echo('check', @args);
	ok $run->{status} == 2 && $run->{out} eq '' &&
	    $run->{err} =~ /\Aecho check: [^\n]*$says[^\n]*\n\z/,
	    "usage: @args" or diag "status $run->{status}: $run->{err}";
}

done_testing;
