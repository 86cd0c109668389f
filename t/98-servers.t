# doc/servers is true: the server makes the system calls that the text shows,
# the figures are the measured figures, the commands that find a fault by hand
# print the output in the text, and check names the fault of each exercise.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Examples;
use File::Temp ();
use Test::More;

plan skip_all => 'the text is about Linux' unless system_has('linux');
my $TRIES = 3;		# on a busy machine, what waits for a time may differ
my $text = slurp(in_tree('doc/servers'));

# The traces of a text: { title => lines }.
sub scenes { my %of = $_[0] =~ /^ *# (.*)\n((?:    .*\n)+)/mg; return \%of }

# The names of the calls, their flags and their results, in order. Sizes, and
# whether more bytes of a stream have arrived, depend on the kernel's buffers.
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

# The traces that doc/trace records, as calls(). They are recorded again if they
# differ from the expected ones.
sub record {
	my ($expected) = @_;
	my ($run, %made);
	for (1 .. $TRIES) {
		$run = run_command(in_tree('doc/trace'), program());
		my $scenes = scenes($run->{out});
		%made = map { $_ => calls($scenes->{$_}) } keys %$scenes;
		last if !grep { ($made{$_} // '') ne $expected->{$_} }
		    keys %$expected;
	}
	return ($run, \%made);
}

SKIP: {
	my $run = run_command('strace', '-e', 'trace=none', 'true');
	skip 'no strace(1) here that may trace', 1 if $run->{status} != 0;
	# The fifth byte of an ELF file is 1 for 32 bits.
	skip 'system calls have other names on 32 bits', 1
	    if ord substr(slurp(program()), 4, 1) == 1;
	subtest 'the system calls are those of the text' => sub {
		my $scenes = scenes($text);
		my %expected = map { $_ => calls($scenes->{$_}) } keys %$scenes;
		my ($run, $made) = record(\%expected);
		is $run->{status}, 0, 'exit status of doc/trace' or
		    diag $run->{err};
		is join("\n", sort keys %$made),
		    join("\n", sort keys %expected), 'titles';
		is $made->{$_}, $expected{$_}, $_ for sort keys %expected;
	};
}

subtest 'the figures are those of doc/engines.json' => sub {
	my $copy = copy_tree('doc');
	my $run = run_command("$copy/doc/plot");
	is "$run->{status}$run->{err}", 0, 'exit status of doc/plot';
	for ('servers', 'engines.svg') {
		is_deeply [ split /\n/, slurp("$copy/doc/$_") ],
		    [ split /\n/, slurp(in_tree("doc/$_")) ], "doc/$_";
	}
};

# The commands of a section, in order, as [ command, output ].
sub commands {
	my ($title) = @_;
	my ($section) = $text =~ /^## \Q$title\E\n(.*?)^## /ms
	    or die "no section $title";
	return map { my (undef, @of_block) = split /^\$ /m;
	    map { [ split /\n/, $_, 2 ] } @of_block }
	    $section =~ /^```console\n(.*?)^```$/msg;
}

# A pattern for the output of a command, in which times, ports and the number of
# lost datagrams may differ. A line of three dots stands for any lines.
sub pattern_of {
	my ($shown) = @_;
	my $pattern = join '.*', map { quotemeta } split /^\.\.\.\n/m, $shown, -1;
	$pattern =~ s/\\:\d{4,5}\b/:\\d+/g;
	$pattern =~ s/\d+\\\.\d\\ m?s\b/[\\d.]+ m?s/g;
	$pattern =~ s/\d+\\ of\\ \d+(?=\\ datagrams)/\\d+ of \\d+/g;
	return qr/\A$pattern\z/s;
}

# Runs a command as on a terminal: with ./echo, but with the port of the server.
sub type_command {
	my ($folder, $port, $command) = @_;
	my $program = program();
	$command =~ s{\./echo (?:send|check)\b}{$& -p $port}g;
	$command =~ s{\./echo\b}{$program}g;
	return run_command('sh', '-c', "cd $folder && { $command; } 2>&1")->{out};
}

# Runs the commands of a section, and compares what they print. `echo faulty`
# starts a server for those that follow.
sub test_section {
	my ($title) = @_;
	my $folder = File::Temp->newdir;
	my $server;
	for (commands($title)) {
		my ($command, $shown) = @$_;
		if ($command =~ /^\.\/echo (faulty .*)/) {
			my $words = run_command('sh', '-c',
			    "printf '%s\\n' $1")->{out};
			$server = start_command(program(), split(/\n/, $words),
			    '--port=0');
			next;
		}
		my $got;
		for (1 .. $TRIES) {
			$got = type_command($folder, $server->port, $command);
			last if $got =~ pattern_of($shown);
		}
		like $got, pattern_of($shown), $command;
	}
}

for my $title ('Find a fault by hand', 'Find a fault of a UDP server') {
	subtest $title => sub { test_section($title) };
}

# The exercises: { title, change, serve, check, output }, where serve has the
# options of the server and check the arguments of check.
sub exercises {
	my @found;
	while ($text =~ /^### (.*?)\n(.*?)(?=^##|\z)/msg) {
		my ($title, $body) = ($1, $2);
		my ($console) = $body =~ /^```console\n(.*?)^```$/ms;
		$console =~ m{\A\$ \./echo serve (.*)\n\$ \./echo check (.*)\n}
		    or die "no commands in exercise $title";
		push @found, { title => $title, change => changes($body),
		    serve => [ split ' ', $1 ], check => [ split ' ', $2 ],
		    output => substr $console, $+[0] };
	}
	return @found;
}

# Returns, from the TAP of check, the lines that the text shows: results and
# messages. Sizes and offsets in a message depend on the kernel.
sub results {
	my ($tap) = @_;
	my @lines = $tap =~ /^((?:not )?ok .*|  message: .*)$/mg;
	return join "\n", map { /^  message/ ? s/\d+/N/gr : $_ } @lines;
}

# Starts the server of an exercise and runs check. If the results are not those
# of the text, does the same again with a longer timeout. Returns the end of
# check and the log of the server.
sub check_server {
	my ($program, $exercise) = @_;
	my ($run, $log);
	for my $timeout ('-t1s', '-t5s', '-t10s') {
		my $server = start_command($program, 'serve',
		    @{ $exercise->{serve} }, '--port=0');
		$run = run_command($program, 'check', $timeout,
		    @{ $exercise->{check} }, $server->address);
		$log = $server->log;
		last if results($run->{out}) eq results($exercise->{output});
	}
	return ($run, $log);
}

my $cc = $ENV{CC} // 'cc';
my @exercises = exercises();
cmp_ok scalar @exercises, '>=', 6, 'number of exercises';
SKIP: {
	skip "no make and $cc here", scalar @exercises if
	    run_command('make', '-v')->{status} != 0 ||
	    run_command('sh', '-c', "$cc --version")->{status} != 0;
	my $copy = copy_tree('Makefile', 'echo.c', 'modes');
	copy_objects($copy);
	my $built = make_in($copy, 'echo');
	is $built->{status}, 0, 'a copy of the tree is built' or
	    diag($built->{err}), last SKIP;
	for my $exercise (@exercises) {
		subtest $exercise->{title} => sub {
			my ($file) = $exercise->{change} =~ /^--- (\S+)/;
			my $before = slurp("$copy/$file");
			change($copy, $exercise->{change});
			my $built = make_in($copy, 'echo');
			is $built->{status} . $built->{err}, 0, 'it is built';
			my ($run, $log) = check_server("$copy/echo",
			    $exercise);
			is $run->{status}, 1, 'check fails';
			is results($run->{out}), results($exercise->{output}),
			    'check names the fault' or diag $log;
			write_file("$copy/$file", $before);
		};
	}
}

done_testing;
