# The README is true: its examples are run as they are printed there. Only the
# port numbers and the times may differ, because they differ from run to run.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my $readme = slurp(in_tree('README'));

# Replaces ports above 1023 and times with fixed words.
sub without_numbers {
	my ($text) = @_;
	$text =~ s/:\d{4,5}\b/:PORT/g;
	$text =~ s/\d+\.\d m?s\b/TIME/g;
	return $text;
}

# The blocks between lines of ``` that are marked with $language ('': no mark).
sub blocks {
	my ($language) = @_;
	my %blocks;
	push @{ $blocks{$1} }, $2
	    while $readme =~ /^```(\w*)\n(.*?)^```$/gms;
	return @{ $blocks{$language} };
}

# The examples in those blocks: [ command, output ].
sub examples {
	my ($language) = @_;
	my @found;
	for (blocks($language)) {
		my (undef, @examples) = split /^\$ /m;
		push @found, map { [ split /\n/, $_, 2 ] } @examples;
	}
	return @found;
}

# The one example whose command matches.
sub example {
	my ($language, $command) = @_;
	my @found = grep { $_->[0] =~ $command } examples($language);
	@found == 1 or die "README has ", scalar @found, " of $command";
	return @{ $found[0] };
}

# Runs an example in a shell, with its standard error and its standard output
# in one file, as a terminal shows them.
sub in_shell {
	my ($command) = @_;
	my $program = program();
	$command =~ s{\./echo\b}{$program}g;
	return run_echo({ command => '/bin/sh' }, '-c', "{ $command; } 2>&1");
}

subtest 'examples of the client and of ports' => sub {
	my $server = start_server();
	my $udp_server = start_server('--udp');
	my $port = $server->port;
	my $udp_port = $udp_server->port;
	for (grep { $_->[0] !~ /^\.\/echo serve/ } examples('console')) {
		my ($command, $output) = @$_;
		my $here = $command =~ /--udp/ ?
		    $command =~ s/-p \d+/-p $udp_port/r :
		    $command =~ /-p \d+/ ? $command =~ s/-p \d+/-p 1/r :
		    $command =~ s/echo send\b/echo send -p $port/r;
		my $got = in_shell($here)->{out};
		$got =~ s/:1\b/:PORT/;
		$got .= "\n" unless $got =~ /\n\z/;
		is without_numbers($got), without_numbers($output), $command;
	}
	$server->stop;
	$udp_server->stop;
};

subtest 'what the server prints, up to Ctrl-C' => sub {
	my ($command, $output) = example('console', qr/echo serve$/);
	my $server = start_server();
	run_echo('send', '-p', $server->port, 'This is a test message.');
	$server->stop('INT');
	is without_numbers('listening on ' . $server->address . "\n" .
	    $server->log), without_numbers($output =~ s/^\^C//mr), $command;
};

subtest 'servers with options' => sub {
	for (grep { $_->[0] =~ /echo serve ./ } examples('console')) {
		my ($command, $output) = @$_;
		my ($options) = $command =~ /echo serve (.*)/;
		$options =~ s/:10000|-p 10001/$& =~ s{\d+}{0}r/ge;
		$options =~ s/'//g;
		$options =~ s/--epoll/usual_engine()/e;
		my $server = eval {
			start_server({ listeners => $output =~ tr/\n// },
			    '-p0', split ' ', $options)
		};
		SKIP: {
			skip "$command: no IPv6 here", 1
			    if !$server && $options =~ /::1/;
			is without_numbers(join '', map { "listening on $_\n" }
			    $server ? $server->addresses : $@),
			    without_numbers($output), $command;
		}
		$server->stop if $server;
	}
};

# Runs the command of an example against $address; its status and its output.
sub against {
	my ($command, $address, @more) = @_;
	my (undef, @words) = split ' ', $command =~ s/ --pid .*//r;
	return run_echo(@words, @more, $address);
}

# Returns, from the TAP of check, the plan, the results and the count of
# failures. The other lines of a failed test depend on the kernel.
sub results {
	my ($tap) = @_;
	return join '', $tap =~
	    /^(1\.\.\d+\n|(?:not )?ok \d+ .*\n|# .* tests failed\n)/mg;
}

subtest 'check and bench, with our own server' => sub {
	my $server = start_server('--select', '-q');
	my ($check, $shown) = example('', qr/echo check$/);
	my $run = against($check, $server->address);
	my $got = results($run->{out});
	is $run->{status}, 0, "$check: exit status";
	my ($begin, $end) = map { without_numbers(results($_)) }
	    split /^\.\.\.\n/m, $shown;
	is without_numbers(substr $got, 0, length $begin), $begin,
	    "$check: its first lines";
	like without_numbers($got), qr/\Q$end\E\z/, "$check: its last lines";

	my ($bench, $report) = example('', qr/echo bench -c/);
	my $has_figures = system_has('process_figures');
	$run = against($bench, $server->address, '-d200ms', $has_figures ?
	    ('--pid', $server->pid) : ());
	is $run->{status}, 0, "$bench: exit status" or diag $run->{err};
	$report =~ s/^  server .*\n//mg unless $has_figures;
	my ($got_names, $shown_names) = map {
		without_numbers(s/^(  .*?) {2,}[\d.]+$/$1/gmr)
	} $run->{out}, $report;
	is $got_names, $shown_names, "$bench: its figures";
	$server->stop;
};

subtest 'bench with UDP' => sub {
	my ($bench, $report) = example('', qr/echo bench -u/);
	my $server = start_server('--select', '-u', '-q');
	my $run = against($bench, $server->address, '-d200ms', '-t1m');
	is $run->{status}, 0, 'exit status' or diag $run->{err};
	my ($got, $shown) = map {
		without_numbers(s/^(  .*?) {2,}[\d.]+$/$1/gmr)
	} $run->{out}, $report;
	is $got, $shown, "$bench: its figures";
	$server->stop;
};

subtest 'check with UDP' => sub {
	my ($check, $shown) = example('', qr/echo check -u/);
	my ($got, $expected) = map {
		my ($message) = /^  message: (.*)$/m;
		without_numbers(results($_)) . $message;
	} in_shell($check)->{out}, $shown;
	is $got, $expected, $check;
};

# Writes the server of the section "Check your own server", changed so that it
# takes its port as an argument.
sub write_python {
	my ($dir, $program) = @_;
	$program =~ s/, 10000\b/, int(__import__("sys").argv[1])/ or
	    die 'README has no listener on port 10000';
	open my $f, '>', "$dir/server.py" or die $!;
	print $f $program;
	close $f or die $!;
}

# Runs a command of that section in the folder of the server.
sub start_python {
	my ($dir, $command, @more) = @_;
	$command =~ s/python3 server\.py/$& {port}/ or
	    die "no server in: $command";
	return in_shell("cd $dir && " . join ' ', $command, @more);
}

SKIP: {
	skip 'no python3 here that has create_server', 1
	    if run_command('python3', '-c',
	    'import socket; socket.create_server')->{status} != 0;
	subtest 'check your own server' => sub {
		my $dir = File::Temp->newdir;
		my ($wrong, $better) = blocks('python');
		my ($start) = blocks('sh');
		chomp $start;
		my ($command, $shown) = example('', qr/echo check --only/);
		write_python($dir, $wrong);
		is results(start_python($dir, $command)->{out}) =~
		    s/^# .*\n//mr, results($shown), $command;
		is start_python($dir, $start, '--profile=homework')->{status},
		    0, 'it passes the profile homework';
		$wrong =~ s/(?:.*\n){2}\z/$better/;
		write_python($dir, $wrong);
		my $run = start_python($dir, $start);
		is $run->{status}, 0, "with the loop it passes: $start" or
		    diag $run->{out};
		my ($tests) = $readme =~ /passes all (\d+) tests/;
		like $run->{out}, qr/^1\.\.$tests$/m, "$tests tests";
	};
}

subtest 'the table of exit statuses is that of --help' => sub {
	my %table = $readme =~ /^\| (\d) \| (.*) \|$/mg;
	my %help = run_echo('serve', '--help')->{out} =~ /^  (\d)  (.*)$/mg;
	is $table{$_}, $help{$_}, "status $_" for sort keys %help;
	is join(' ', sort keys %table), '0 1 2 3 4 5 6 7', 'all statuses';
};

subtest 'the files of the tree are there' => sub {
	my ($tree) = $readme =~ /^## The tree\n\n((?:    .*\n)+)/m;
	my @files = map { split ' ' } $tree =~ /^    (\S.*?)(?:  |$)/mg;
	cmp_ok scalar @files, '>', 15, 'the tree has files';
	ok -e in_tree($_), $_ for @files;
	ok -e in_tree($_), $_ for $readme =~ m{`((?:doc|man)/\S+?)`}g;
};

# The goals of the Makefile, as words.
my %goals = map { $_ => 1 } map { split ' ' }
    slurp(in_tree('Makefile')) =~ /^([a-z][\w -]*):(?!=)/mg;

subtest 'the goals of make are there' => sub {
	my %named = map { $_ => 1 } $readme =~ /^    make ([a-z-]+)\b/mg;
	cmp_ok scalar keys %named, '>', 10, 'the README names goals';
	ok $goals{$_}, "make $_" for sort keys %named;
};

subtest 'the tests that doc/promises names are there' => sub {
	my %named = map { $_ => 1 } slurp(in_tree('doc/promises')) =~
	    /\b(t\/[\w-]+\.t|make \w+)/g;
	cmp_ok scalar keys %named, '>', 15, 'doc/promises names tests';
	for (sort keys %named) {
		my ($goal) = /^make (\w+)/;
		ok $goal ? $goals{$goal} : -e in_tree($_), $_;
	}
};

done_testing;
