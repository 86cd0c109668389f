# doc/changing is true: the engine and the mode that it adds are added to a copy
# of the tree, which is built without a warning and passes the tests that every
# engine and every mode must pass.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Examples;
use Test::More;

my $cc = $ENV{CC} // 'cc';
plan skip_all => "no make and $cc here" if
    run_command('make', '-v')->{status} != 0 ||
    run_command('sh', '-c', "$cc --version")->{status} != 0;

my $text = slurp(in_tree('doc/changing'));
my $new = new_files($text);
my $copy = copy_tree(qw(CHANGELOG LICENSE Makefile README contrib doc echo.c
    man modes t));
copy_objects($copy);

subtest 'the copy with the additions is built' => sub {
	cmp_ok scalar keys %$new, '>=', 3, 'the text has complete files';
	ok !-e "$copy/$_", "$_ is a new file" for sort keys %$new;
	write_file("$copy/$_", $new->{$_}) for keys %$new;
	change($copy, $_) for changes($text);
	my $built = make_in($copy);
	is $built->{status} . $built->{err}, 0, 'without a warning';
	like run_command("$copy/echo", 'help')->{out}, qr/^  wait /m,
	    'the help lists the mode';
	like run_command("$copy/echo", 'help', 'serve')->{out}, qr/ --poll /,
	    'the help of serve lists the engine';
} or do { done_testing; exit 1 };

# A test of the copy, on the copy. $shows: what only the additions print.
sub passes {
	my ($test, $shows) = @_;
	local $ENV{ECHO_DIR};
	delete $ENV{ECHO_DIR};
	my $run = run_command($^X, "$copy/t/$test.t");
	is $run->{status}, 0, "$test.t: exit status" or
	    diag $run->{err}, grep { /^\s*not ok/ } split /^/, $run->{out};
	ok $run->{out} =~ $shows, "$test.t tests the addition";
}

subtest 'tests of the tree, with the additions' => sub {
	passes('05-smoke', qr/--poll/);
	passes('10-dispatch', qr/\bwait\b/);
	passes('92-manual', qr/\becho_wait\b/);
};

subtest 'the engine' => sub {
	my $server = start_command("$copy/echo", 'serve', '--poll', '-q',
	    '--port=0');
	my $run = run_command("$copy/echo", 'check', '--profile=robust',
	    $server->address);
	is $run->{status}, 0, 'check finds no fault' or diag $run->{out};
	$run = run_command("$copy/echo", 'bench', '-c10', '--idle=1200',
	    '-d200ms', '-t30s', $server->address);
	is $run->{status}, 0, 'more clients than select has room for' or
	    diag $run->{err};
	$server->stop;
};

subtest 'the mode' => sub {
	my $socket = "unix:$copy/socket";
	my @wait = ("$copy/echo", 'wait', '-a');
	my $run = run_command(@wait, $socket, '-t100ms');
	is $run->{status}, 5, 'no server: exit status';
	like $run->{err}, qr/\Aecho wait: cannot connect to \Q$socket\E: /,
	    'no server: message';
	my $waiting = spawn(sub {
		my $run = run_command(@wait, $socket, "-t${DEADLINE}s");
		die "$run->{status} $run->{err}" if $run->{status} != 0;
	});
	my $server = start_command({ listeners => 2 }, "$copy/echo", 'serve',
	    '--poll', '-q', '-a', '127.0.0.1:0', '-a', $socket);
	waitpid $waiting, 0;
	is $?, 0, 'a server that starts later';
	is run_command(@wait, $server->address)->{status}, 0,
	    'a server that is ready';
	$server->stop;
};

done_testing;
