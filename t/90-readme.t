# The README says what is so: its examples are run as they stand there, but
# for ports and times, which differ from run to run.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

my $readme = slurp(in_tree('README'));

# Ports above 1023 and times, by a common name.
sub alike {
	my ($text) = @_;
	$text =~ s/:\d{4,5}\b/:PORT/g;
	$text =~ s/\d+\.\d m?s\b/TIME/g;
	return $text;
}

# [ command, what it prints ] for each "$ command" of the README.
sub examples {
	my @found;
	while ($readme =~ /^```console\n(.*?)^```/gms) {
		my (undef, @block) = split /^\$ /m, $1;
		push @found, map { [ split /\n/, $_, 2 ] } @block;
	}
	return @found;
}

sub in_shell {
	my ($command) = @_;
	local $ENV{PATH} = "$FindBin::Bin:$ENV{PATH}";
	my $program = program();
	$command =~ s{\./echo\b}{$program}g;
	return run_echo({ command => '/bin/sh' }, '-c', "{ $command; } 2>&1");
}

my $server = start_server();
my $port = $server->port;
my $shown;
for (examples()) {
	my ($command, $output) = @$_;
	if ($command =~ m{^\./echo serve(.*)}) {
		# Its own test below; the default one also logs a client.
		$shown //= $output;
		next;
	}
	my $there = $command =~ /-p \d+/ ? $command =~ s/-p \d+/-p 1/r :
	    $command =~ s/echo send\b/echo send -p $port/r;
	my $got = in_shell($there)->{out};
	$got =~ s/:1\b/:PORT/;
	$got .= "\n" unless $got =~ /\n\z/;
	is alike($got), alike($output), $command;
}

$server->stop;

# What the server says of the first message, up to Ctrl-C.
$server = start_server();
run_echo('send', '-p', $server->port, 'This is a test message.');
$server->stop('INT');
is alike('listening on ' . $server->address . "\n" . $server->log),
    alike($shown =~ s/^\^C\n//mr), 'what the server says';

SKIP: {
	my ($options) = $readme =~ /^\$ \.\/echo serve (.*)/m;
	$options =~ s/:10000/:0/g;
	$options =~ s/'//g;
	my $server = eval {
		start_server({ listeners => 2 }, '-p0', split ' ', $options)
	} or skip 'no IPv6 here', 1;
	like join(' ', $server->addresses), qr/^127\.0\.0\.1:\d+ \[::1\]:\d+$/,
	    'several addresses';
	$server->stop;
}

# The table of statuses is the one of --help.
my %table = $readme =~ /^\| (\d) \| (.*) \|$/mg;
my $help = run_echo('serve', '--help')->{out};
is scalar(keys %table), 8, 'eight statuses';
for (sort keys %table) {
	my ($first) = $table{$_} =~ /^([\w ]+)/;
	like $help, qr/^  $_  \Q$first\E/m, "status $_: $first";
}

# What the tree is said to hold is there.
my ($tree) = $readme =~ /^## The tree\n\n((?:    .*\n)+)/m;
for my $files ($tree =~ /^    (\S.*?)(?:  |$)/mg) {
	for (split ' ', $files) {
		ok -e in_tree($_) || -e in_tree("modes/$_"), "$_ is there";
	}
}

# What doc/promises says shows something is there.
{
	my $promises = slurp(in_tree('doc/promises'));
	my %shows = map { $_ => 1 } $promises =~ /\b(t\/[\w-]+\.t|make \w+)/g;
	my $makefile = slurp(in_tree('Makefile'));
	for (sort keys %shows) {
		my ($target) = /^make (\w+)/;
		ok $target ? $makefile =~ /^$target:/m : -e in_tree($_),
		    "doc/promises: $_";
	}
	cmp_ok scalar(keys %shows), '>', 15, 'doc/promises names tests';
}

done_testing;
