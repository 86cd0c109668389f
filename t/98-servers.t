# doc/servers says what is so: the system calls are those that are made, the
# figures those that were measured, and check names the fault of each exercise.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Examples;
use Test::More;

my $text = slurp(in_tree('doc/servers'));

# Names of calls, flags and results, in order. Sizes, and whether more waits
# behind some of a stream, depend on the kernel's buffers.
sub calls {
	my ($trace) = @_;
	$trace =~ s/\|SPLICE_F_MORE//g;
	$trace =~ s/\|MSG_MORE//g if $trace =~ /"x\.\.\."/;
	return join "\n", map {
		my ($call, $result) = /^    (\w+)\(.*\) = (-1 \w+|0|\d)/;
		$call ? join ' ', $call, $result =~ s/[1-9]/1/r,
		    /\b(?:E?POLL|MSG_|SPLICE_|SHUT_)\w+/g : $_;
	} split /\n/, $trace;
}

sub scenes { my %of = $_[0] =~ /^ *# (.*)\n((?:    .*\n)+)/mg; return \%of }

SKIP: {
	my $traced = run_command(in_tree('doc/trace'), program());
	skip $traced->{err} =~ s/\n.*//sr, 6
	    if $traced->{err} =~ /no strace/;
	my ($told, $made) = (scenes($text), scenes($traced->{out}));
	is $traced->{status}, 0, 'doc/trace' or diag $traced->{err};
	is join("\n", sort keys %$told), join("\n", sort keys %$made),
	    'the text has what it shows';
	is calls($told->{$_}), calls($made->{$_}), $_ for sort keys %$made;
}

# Drawn again from the same lines it is the same.
{
	my $copy = copy_tree('doc');
	my $run = run_command("$copy/doc/plot");
	is "$run->{status}$run->{err}", 0, 'doc/plot';
	for ('servers', 'engines.svg') {
		ok slurp("$copy/doc/$_") eq slurp(in_tree("doc/$_")),
		    "doc/$_ has the figures of doc/engines.json";
	}
}

# [ title, change, options of serve, arguments of check, what it says ].
my @exercises;
my $SERVE = qr/^\$ \.\/echo serve (.*)\n/m;
my $CHECK = qr/^\$ \.\/echo check (.*)\n/m;
while ($text =~ /^### (.*?)\n(.*?)(?=^##|\z)/msg) {
	my ($title, $body) = ($1, $2);
	my ($change) = changes($body);
	my ($console) = $body =~ /^```console\n(.*?)^```$/ms;
	my ($serve, $check, $said) = ($console // '') =~
	    /\A$SERVE$CHECK(.*)\z/s;
	push @exercises, [$title, $change, $serve, $check, $said];
}
cmp_ok scalar @exercises, '>=', 6, 'exercises';

# Of check's TAP what the text shows; sizes and places depend on the kernel.
sub brief {
	my ($tap) = @_;
	my $said = join '', $tap =~ /^((?:not )?ok .*\n|  message: .*\n)/mg;
	return $said =~ s/^(.*ok \d+ - \S+\n)|\d+/$1 \/\/ 'N'/gemr;
}

my $cc = $ENV{CC} // 'cc';
SKIP: {
	skip "no make and $cc here", 3 * @exercises if
	    run_command('make', '-v')->{status} != 0 ||
	    run_command('sh', '-c', "$cc --version")->{status} != 0;
	my $copy = copy_tree('Makefile', 'echo.c', 'modes');
	my $built = make_in($copy, 'echo');
	is $built->{status}, 0, 'a copy of the tree is built' or
	    diag($built->{err}), last SKIP;
	for (@exercises) {
		my ($title, $change, $serve, $check, $said) = @$_;
		my ($file) = $change =~ /^--- (\S+)/;
		my $before = slurp("$copy/$file");
		change($copy, $change);
		my $built = make_in($copy, 'echo');
		is $built->{status} . $built->{err}, 0, "$title: is built";
		my $server = start_command("$copy/echo", 'serve',
		    split(' ', $serve), '--port=0');
		my $run = run_command("$copy/echo", 'check', '-t1s',
		    split(' ', $check), $server->address);
		is $run->{status}, 1, "$title: check fails";
		is brief($run->{out}), brief($said), "$title: says why";
		write_file("$copy/$file", $before);
	}
}

done_testing;
