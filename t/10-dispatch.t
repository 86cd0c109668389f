# How the program selects the mode: by its first argument or by its own name;
# help, version, and mistyped names of modes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Copy qw(copy);
use File::Glob qw(bsd_glob);
use File::Temp ();
use Test::More;

my $empty = qr/\A\z/;

# Asserts the exit status of a run, and patterns for its stdout and stderr.
# EchoTest shows the output of the run.
sub prints {
	my ($run, $status, $out, $err, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($run->{status} == $status && $run->{out} =~ $out &&
	    $run->{err} =~ $err, $name) || diag
	    "     got: exit status $run->{status}, signal $run->{signal}\n",
	    'stdout ', show($run->{out}, 300), "\n",
	    'stderr ', show($run->{err}, 300), "\n",
	    "expected: exit status $status, stdout $out, stderr $err";
}

sub exactly { my ($text) = @_; qr/\A\Q$text\E\z/ }

# The tests loop over the modes that `echo help` lists.
my $help = run_echo('help')->{out};
my ($list) = $help =~ /^(modes:\n(?:  .+\n)+)/m or die "no modes in: $help";
my %link = $list =~ /^  (\w+) .*\b(echo_\w+)\b/mg;
my %summary = $list =~ /^  (\w+) +(.*?) +\(or /mg;
my @modes = sort keys %link;
my %help = map { $_ => run_echo('help', $_)->{out} } @modes;
my $version = run_echo('--version')->{out};
my $lists_modes = qr/^\Q$list\E/m;

subtest 'the list of modes' => sub {
	my @built = map { slurp($_) =~ /^const struct mode mode_(\w+) = /mg }
	    bsd_glob(in_tree('modes/{*,*/*}.c'));
	is "@modes", join(' ', sort @built), 'the modes in the sources';
	my %base = (serve => 'server', send => 'client');
	for my $mode (@modes) {
		is $link{$mode}, 'echo_' . ($base{$mode} // $mode),
		    "$mode: name of the link";
		ok -x program($link{$mode}), "$mode: the link exists";
		like $summary{$mode}, qr/^[a-z].{10,}/, "$mode: summary";
	}
	is $summary{check}, 'test a server or a client, and explain its faults',
	    'summary of check';
	is $summary{bench}, 'measure how fast a server echoes',
	    'summary of bench';
};

subtest 'help and version' => sub {
	like $version, qr/\Aecho \d+(\.\d+)+\b.*\n\z/, 'the version';
	prints(run_echo(@$_), 0, exactly($help), $empty, "@$_")
	    for ['help'], ['--help'], ['-h'];
	prints(run_echo(@$_), 0, exactly($version), $empty, "@$_")
	    for ['--version'], ['-V'], ['version'];
};

my ($table) = $help{serve} =~ /^(exit status:\n.*)/ms;
for my $mode (@modes) {
	subtest "help and version of $mode" => sub {
		my $statuses = join '', map { "  $_  \\S.*\n" } 0 .. 7;
		like $table, qr/\Aexit status:\n$statuses\z/,
		    'a table of the exit statuses 0 to 7';
		like $help{$mode}, qr/\Ausage: echo $mode /, 'usage';
		like $help{$mode}, qr/^\Q$table\E/m, 'the same table';
		is join("\n", grep { length > 80 } split /\n/, $help{$mode}),
		    '', 'every line fits a terminal of 80 columns';
		prints(run_echo(@$_), 0, exactly($help{$mode}), $empty, "@$_")
		    for ['help', $mode], [$mode, '--help'], [$mode, '-h'];
		prints(run_echo(@$_), 0, exactly($version), $empty, "@$_")
		    for [$mode, '--version'], [$mode, '-V'];
	};
}

my $long = 'x' x 100_000;
my %unknown = (
	'no mode' => [],
	'only --' => ['--'],
	'an empty mode' => [''],
	'an unknown mode' => ['frobnicate'],
	'an unknown option' => ['--frobnicate'],
	'an unknown short option' => ['-x'],
	'a mode and a space' => ['serve '],
	'help of an unknown mode' => ['help', 'frobnicate'],
	'control bytes' => ["serve\e[31m\a\r\n"],
	'C1 control bytes' => ["\x9b31m\xc2\x9b31m"],
	'100 kB' => [$long]
);
for my $what (sort keys %unknown) {
	subtest "no such mode: $what" => sub {
		my $run = run_echo(@{ $unknown{$what} });
		prints($run, 2, $empty, $lists_modes,
		    'exit status 2 and a list of the modes');
		like $run->{err}, qr/\Aecho: [^\n]{1,290}\n/,
		    'the first line is an error message';
		unlike $run->{err}, qr/[^\n\x20-\x7e]/,
		    'stderr is printable';
	};
}
unlike run_echo('frobnicate')->{err}, qr/mean/,
    'no suggestion for frobnicate, which is like no mode';

my %mistyped = (
	serve => [qw(srve sreve serv sevre sever server Serve)],
	send => [qw(sned sen sendd snd Send)],
	ports => [qw(prots port pots portss Ports)],
	check => [qw(chekc chek)],
	bench => [qw(bnech benhc)],
	faulty => [qw(fautly fauly Faulty)]
);
for my $mode (@modes) {
	subtest "mistyped names of $mode" => sub {
		ok $mistyped{$mode}, 'this test has some';
		for my $word (@{ $mistyped{$mode} }) {
			prints(run_echo(@$_), 2, $empty,
			    qr/\Aecho: .*"$word".*\b$mode\b.*\n/,
			    "@$_: suggests $mode") for [$word], ['help', $word];
		}
	};
}

# The name of a link selects the mode, whatever its path.
my $tmp = File::Temp->newdir;
mkdir "$tmp/copy" or die $!;
for my $mode (@modes) {
	my $link = $link{$mode};
	symlink program(), "$tmp/$link" or die $!;
	symlink "../$link", "$tmp/copy/link_$link" or die $!;
	copy program(), "$tmp/copy/$link" or die $!;
	chmod 0755, "$tmp/copy/$link" or die $!;
	local $ENV{PATH} = "$tmp:$ENV{PATH}";
	my @in_tmp = ('sh', '-c', 'cd "$0" && exec "$@"', "$tmp");
	my %ways = (
		'the link' => { program => $link },
		'a link in another folder' => { command => "$tmp/$link" },
		'a link in PATH' => { command => $link },
		'./link' => { command => "./$link", wrap => \@in_tmp },
		'../link' => { command => "copy/../$link", wrap => \@in_tmp },
		'a copy' => { command => "$tmp/copy/$link" }
	);
	subtest "the name $link" => sub {
		prints(run_echo($ways{$_}, '--help'), 0,
		    exactly($help{$mode}), $empty, "--help, $_")
		    for sort keys %ways;
		prints(run_echo({ program => $link }, '-V'), 0,
		    exactly($version), $empty, '-V');
		prints(run_echo({ command => "$tmp/copy/link_$link" }, 'help'),
		    0, exactly($help), $empty,
		    "link_$link is the program with all modes");
	};
}

# Linux replaces an empty argv by one empty string since 5.18, so the program
# sees an argc of 0 on older kernels only.
my @as = ($^X, '-e', 'my $program = shift; exec { $program } @ARGV; exit 127');
sub run_as { run_echo({ wrap => \@as }, @_) }

subtest 'any argv[0]' => sub {
	prints(run_as(), 2, $empty, $lists_modes, 'no argv');
	for my $name ('', '/', '//', 'echo', 'echo/', '/no/where/echo',
	    'some-thing', 'echo_', $long) {
		my $shown = '"' . substr($name, 0, 20) . '"';
		prints(run_as($name), 2, $empty, $lists_modes,
		    "$shown without arguments");
		prints(run_as($name, 'help'), 0, exactly($help), $empty,
		    "$shown help");
		prints(run_as($name, 'ports', '-h'), 0, exactly($help{ports}),
		    $empty, "$shown ports -h");
	}
	prints(run_as($_, '-h'), 0, exactly($help{serve}), $empty, "$_ -h")
	    for 'echo_server', './echo_server', '/no/where/echo_server';
};

subtest 'help that cannot be written' => sub {
	pipe my $reader, my $broken or die $!;
	close $reader;
	my @closed = ('sh', '-c', 'exec "$@" >&-', 'sh');
	for my $args (['help'], ['--version'],
	    map { ['help', $_], [$_, '--help'], [$_, '-V'] } @modes) {
		my $program = $help{ $args->[0] } ? "echo $args->[0]" : 'echo';
		my $message = qr/\A$program: [^\n]+\n\z/;
		SKIP: {
			skip 'no /dev/full', 1 unless -c '/dev/full';
			prints(run_echo({ out => '/dev/full' }, @$args), 7,
			    $empty, $message, "@$args >/dev/full");
		}
		prints(run_echo({ wrap => \@closed }, @$args), 7, $empty,
		    $message, "@$args >&-");
		prints(run_echo({ out => $broken }, @$args), 7, $empty,
		    $message, "@$args, a broken pipe");
	}
};

done_testing;
