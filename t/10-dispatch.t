# Which mode is meant: help and version, slips of the finger, the name that
# the program is called by.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Copy qw(copy);
use File::Glob qw(bsd_glob);
use File::Temp ();
use Test::More;

my $nothing = qr/\A\z/;

# One run: its exit status, and what its stdout and stderr must look like.
sub says {
	my ($run, $status, $out, $err, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($run->{status} == $status && $run->{out} =~ $out &&
	    $run->{err} =~ $err, $name) || diag
	    "exit status $run->{status}, signal $run->{signal}\n",
	    'stdout: ', show($run->{out}, 300), "\n",
	    'stderr: ', show($run->{err}, 300);
}

sub exactly { my ($text) = @_; qr/\A\Q$text\E\z/ }

# What the program says of its modes; all that follows loops over it.
my $help = run_echo('help')->{out};
my ($list) = $help =~ /^(modes:\n(?:  .+\n)+)/m or die "no modes in: $help";
my %link = $list =~ /^  (\w+) .*\b(echo_\w+)\b/mg;
my @modes = sort keys %link;
my %help = map { $_ => run_echo('help', $_)->{out} } @modes;
my $version = run_echo('--version')->{out};
my $lists = qr/^\Q$list\E/m;

# The list is the truth: a mode that is built is listed, and none other.
{
	my @built = map { slurp($_) =~ /^const struct mode mode_(\w+) = /mg }
	    bsd_glob(in_tree('modes/{*,*/*}.c'));
	is "@modes", join(' ', sort @built), 'all modes are listed';
	my %base = (serve => 'server', send => 'client');
	for my $mode (@modes) {
		is $link{$mode}, 'echo_' . ($base{$mode} // $mode),
		    "$mode: its link is listed";
		ok -x program($link{$mode}), "$link{$mode} is there";
	}
}

# Help and version.
like $version, qr/\Aecho \d+(\.\d+)+\b.*\n\z/, 'a version';
says(run_echo(@$_), 0, exactly($help), $nothing, "@$_")
    for ['help'], ['--help'], ['-h'];
says(run_echo(@$_), 0, exactly($version), $nothing, "@$_")
    for ['--version'], ['-V'];

my ($table) = $help{serve} =~ /^(exit status:\n.*)/ms;
my $statuses = join '', map { "  $_  \\S.*\n" } 0 .. 7;
like $table, qr/\Aexit status:\n$statuses/, 'a table of exit statuses, 0 to 7';
for my $mode (@modes) {
	like $help{$mode}, qr/\Ausage: echo $mode /, "help $mode: usage";
	like $help{$mode}, qr/^\Q$table\E/m, "help $mode: exit statuses";
	says(run_echo(@$_), 0, exactly($help{$mode}), $nothing, "@$_")
	    for ['help', $mode], [$mode, '--help'], [$mode, '-h'];
	says(run_echo(@$_), 0, exactly($version), $nothing, "@$_")
	    for [$mode, '--version'], [$mode, '-V'];
}

# No mode, and none that there is.
my $long = 'x' x 100_000;
my %unknown = (
	'no mode' => [],
	'-- only' => ['--'],
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
	my $run = run_echo(@{ $unknown{$what} });
	says($run, 2, $nothing, $lists, "$what: a list of modes, exit 2");
	like $run->{err}, qr/\Aecho: [^\n]{1,290}\n/, "$what: says what it is";
	unlike $run->{err}, qr/[^\n\x20-\x7e]/, "$what: nothing but text";
}
unlike run_echo('frobnicate')->{err}, qr/mean/, 'no mode is near frobnicate';

my %slips = (
	serve => [qw(srve sreve serv sevre sever server Serve)],
	send => [qw(sned sen sendd snd Send)],
	ports => [qw(prots port pots portss Ports)],
	check => [qw(chekc chek)],
	bench => [qw(bnech benhc)]
);
for my $mode (@modes) {
	ok $slips{$mode}, "slips of the finger for $mode";
	for my $slip (@{ $slips{$mode} }) {
		for my $args ([$slip], ['help', $slip]) {
			says(run_echo(@$args), 2, $nothing,
			    qr/\Aecho: .*"$slip".*\b$mode\b.*\n/,
			    "@$args: suggests $mode");
		}
	}
}

# The name of a link, wherever it is and however it was found.
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
		'a link elsewhere' => { command => "$tmp/$link" },
		'a link in PATH' => { command => $link },
		'./link' => { command => "./$link", wrap => \@in_tmp },
		'../link' => { command => "copy/../$link", wrap => \@in_tmp },
		'a copy' => { command => "$tmp/copy/$link" }
	);
	for my $way (sort keys %ways) {
		says(run_echo($ways{$way}, '--help'), 0, exactly($help{$mode}),
		    $nothing, "$link --help, $way");
	}
	says(run_echo({ program => $link }, '-V'), 0, exactly($version),
	    $nothing, "$link -V");
	# Another name makes it the program with all modes again.
	says(run_echo({ command => "$tmp/copy/link_$link" }, 'help'), 0,
	    exactly($help), $nothing, "link_$link help");
}

# Any argv[0]. Linux puts an empty string where there is none since 5.18:
# an argc of 0 reaches the program on older kernels only.
my @as = ($^X, '-e', 'my $program = shift; exec { $program } @ARGV; exit 127');
sub run_as { run_echo({ wrap => \@as }, @_) }

says(run_as(), 2, $nothing, $lists, 'no argv at all');
for my $name ('', '/', '//', 'echo', 'echo/', '/no/where/echo', 'some-thing',
    'echo_', $long) {
	my $shown = 'argv[0] "' . substr($name, 0, 20) . '"';
	says(run_as($name), 2, $nothing, $lists, "$shown: no mode");
	says(run_as($name, 'help'), 0, exactly($help), $nothing,
	    "$shown: help");
	says(run_as($name, 'ports', '-h'), 0, exactly($help{ports}), $nothing,
	    "$shown: ports -h");
}
says(run_as($_, '-h'), 0, exactly($help{serve}), $nothing, "argv[0] $_")
    for 'echo_server', './echo_server', '/no/where/echo_server';

# Help that nobody can read is not a success.
pipe my $reader, my $broken or die $!;
close $reader;
my @closed = ('sh', '-c', 'exec "$@" >&-', 'sh');
for my $args (['help'], ['--version'],
    map { ['help', $_], [$_, '--help'], [$_, '-V'] } @modes) {
	my $program = $help{ $args->[0] } ? "echo $args->[0]" : 'echo';
	my $complaint = qr/\A$program: [^\n]+\n\z/;
	SKIP: {
		skip 'no /dev/full', 1 unless -c '/dev/full';
		says(run_echo({ out => '/dev/full' }, @$args), 7, $nothing,
		    $complaint, "@$args >/dev/full");
	}
	says(run_echo({ wrap => \@closed }, @$args), 7, $nothing, $complaint,
	    "@$args >&-");
	says(run_echo({ out => $broken }, @$args), 7, $nothing, $complaint,
	    "@$args, a broken pipe");
}

done_testing;
