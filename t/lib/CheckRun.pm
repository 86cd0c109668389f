package CheckRun;

# Runs `echo check`, reads its TAP, and compares the result of each test with
# what is expected. Many servers can be tested at the same time.

use strict;
use warnings;

use EchoTest;
use Exporter qw(import);
use IO::Select ();
use Storable qw(nfreeze thaw);
use TAP::Parser;
use Test::More;

our @EXPORT = qw(check is_result parse_tap run_again run_at_once run_cases);

my $AT_ONCE = 8;		# servers that are tested at the same time
my $TRIES = 3;			# how often a case is run at most
my $LATE_MAX = 16;		# more late cases are not due to the machine

# Runs check against a server or an address. The first argument may be a
# reference to a hash of options for run_echo.
sub check {
	my %how = ref $_[0] eq 'HASH' ? %{ +shift } : ();
	my ($server, @args) = @_;
	return run_echo({ deadline => 300, %how }, 'check', @args,
	    ref $server ? $server->address : $server);
}

# Reads the output of a run. Returns { plan, version, bailout, errors, passed,
# failed, skipped, reason, yaml }. passed, failed and skipped are lists of
# names; reason (of skips) and yaml (of failures) are hashes by name.
sub parse_tap {
	my ($run) = @_;
	my %tap = (failed => [], passed => [], skipped => []);
	my ($name, $parser) = ('', TAP::Parser->new({ tap => $run->{out} }));
	while (my $result = $parser->next) {
		if ($result->is_test) {
			$name = $result->description =~ s/^- //r;
			push @{ $tap{ !$result->is_ok ? 'failed' :
			    $result->has_skip ? 'skipped' : 'passed' } }, $name;
			$tap{reason}{$name} = $result->explanation;
		} elsif ($result->is_yaml) {
			$tap{yaml}{$name} = $result->data;
		} elsif ($result->is_bailout) {
			$tap{bailout} = $result->explanation;
		}
	}
	$tap{plan} = $parser->tests_planned;
	$tap{version} = $parser->version;
	$tap{errors} = [ $parser->parse_errors ];
	return \%tap;
}

# The result of a run as text. The names in %$optional are left out.
sub _text_of {
	my ($run, $optional) = @_;
	my $tap = parse_tap($run);
	my $names = sub {
		join ' ', grep { !$optional->{$_} } @{ $tap->{$_[0]} };
	};
	return join "\n", "exit status $run->{status}, signal $run->{signal}",
	    'TAP version ' . ($tap->{version} // 'none'),
	    map({ "TAP error: $_" } @{ $tap->{errors} }),
	    map({ "$_: " . $names->($_) } qw(passed failed skipped)),
	    "stderr: $run->{err}";
}

sub _expected_text {
	my ($status, $tests, $fails, $optional) = @_;
	my %fails = map { $_ => 1 } @$fails;
	my @tests = grep { !$optional->{$_} } @$tests;
	return join "\n", "exit status $status, signal 0", 'TAP version 13',
	    'passed: ' . join(' ', grep { !$fails{$_} } @tests),
	    'failed: ' . join(' ', grep { $fails{$_} } @tests),
	    'skipped: ', 'stderr: ';
}

# Asserts that check ran the given tests in this order, that those in @$fails
# failed, and that all others passed.
sub is_result {
	my ($run, $tests, $fails, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(_text_of($run, {}),
	    _expected_text(@$fails ? 1 : 0, $tests, $fails, {}), $name);
}

# The result of a case, and the expected result, as two texts.
sub _got_and_expected {
	my ($case, $run) = @_;
	my $optional = $case->{may_fail} // {};
	my $failed = @{ $case->{fails} } + grep { $optional->{$_} }
	    @{ parse_tap($run)->{failed} };
	return _text_of($run, $optional), _expected_text($failed ? 1 : 0,
	    $case->{tests}, $case->{fails}, $optional);
}

# Whether a result differs from the expected one, and time may be the reason: a
# test that should pass timed out, a test that depends on a short pause passed,
# or the run took too long.
sub _is_late {
	my ($case, $run, $limit) = @_;
	my ($got, $expected) = _got_and_expected($case, $run);
	return $limit && $run->{time} >= $limit if $got eq $expected;
	my $tap = parse_tap($run);
	my %fails = map { $_ => 1 } @{ $case->{fails} };
	for my $name (@{ $tap->{failed} }) {
		next if $fails{$name};
		my $yaml = $tap->{yaml}{$name} // {};
		return 0 unless ($yaml->{ended} // '') eq 'timed out' ||
		    ($yaml->{message} // '') =~ /^not tried|timed out/;
	}
	return !grep { $fails{$_} && !$case->{timed}{$_} } @{ $tap->{passed} };
}

# Starts a server and, in another process, check. The result can be read from
# a pipe. From the second try on, a timeout and the limit are longer.
sub _begin {
	my ($case, $try) = @_;
	my $factor = $case->{timeout} && $try > 1 ? 3 : 1;
	my @timeout = $case->{timeout} ?
	    '--timeout=' . $case->{timeout} * $factor : ();
	my %begun = (case => $case, server => $case->{start}->(),
	    limit => ($case->{seconds} // 0) * $factor);
	pipe $begun{result}, my $result or die "pipe: $!";
	$begun{pid} = spawn(sub {
		binmode $result;
		print $result nfreeze(check($begun{server},
		    @timeout, @{ $case->{args} }));
		close $result;
	});
	return \%begun;
}

sub _end {
	my ($begun) = @_;
	my $handle = $begun->{result};
	binmode $handle;
	$begun->{run} = thaw(do { local $/; <$handle> });
	waitpid $begun->{pid}, 0;
	return $begun;
}

# Runs cases (see run_cases), at most $AT_ONCE at the same time, and calls a
# function with each result as soon as it is there.
sub run_at_once {
	my ($report, @cases) = @_;
	my ($select, %running) = IO::Select->new;
	while (@cases || %running) {
		while (@cases && keys %running < $AT_ONCE) {
			my $begun = _begin(shift @cases, 1);
			$running{ $begun->{result} } = $begun;
			$select->add($begun->{result});
		}
		for my $handle ($select->can_read) {
			$select->remove($handle);
			$report->(_end(delete $running{$handle}));
		}
	}
}

# Runs cases again, each alone, until a function that is called with the result
# accepts it by returning true. In the last try the function is also called with
# true, and has to accept the result. The same applies if there are many cases,
# because then the machine is not the reason.
sub run_again {
	my ($report, @late) = @_;
	if (@late > $LATE_MAX) {
		$report->($_, 1) for @late;
		return;
	}
	for my $case (map { $_->{case} } @late) {
		for my $try (2 .. $TRIES) {
			note "$case->{name}: try $try, because it was late";
			last if $report->(_end(_begin($case, $try)),
			    $try == $TRIES);
		}
	}
}

sub _report {
	my ($ended) = @_;
	my ($case, $run) = @$ended{qw(case run)};
	note sprintf 'check took %.1f s', $run->{time};
	my ($got, $expected) = _got_and_expected($case, $run);
	my ($yaml, $says) = (parse_tap($run)->{yaml}, $case->{says} // {});
	is($got, $expected, 'results') or diag show($run->{out}, 6000);
	like $yaml->{$_}{message}, $says->{$_}, "message of $_"
	    for sort keys %$says;
	cmp_ok $run->{time}, '<', $ended->{limit}, 'seconds'
	    if $ended->{limit};
	$case->{stop}->($ended->{server});
}

# Runs many cases at the same time, each as a subtest. A case is a hash:
#	name		name of the subtest
#	start		starts the server and returns it
#	stop		is called with the server at the end
#	args		arguments of check
#	timeout		its timeout in seconds, longer when it is run again;
#			undef: as args say, or the default
#	tests		names of the tests that these arguments select
#	fails		names of the tests that should fail
#	may_fail	{ name => 1 }: tests that may pass or fail
#	timed		{ name => 1 }: tests in fails that depend on a pause, or
#			on an ICMP error
#	says		{ name => pattern for the message }
#	seconds		limit for the whole run
# On a busy machine a process may not be scheduled for a second. A case whose
# result may be due to such a delay is run again, alone and with more time.
sub run_cases {
	my @late;
	my $report = sub {
		my ($ended, $is_last) = @_;
		my ($case, $run, $limit) = @$ended{qw(case run limit)};
		return 0 if !$is_last && _is_late($case, $run, $limit);
		subtest $case->{name} => sub { _report($ended) };
		return 1;
	};
	run_at_once(sub { $report->($_[0]) or push @late, $_[0] }, @_);
	run_again($report, @late);
}

1;
