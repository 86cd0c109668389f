# doc/changing works: the engine and the mode that it adds, added to a copy of
# the tree, are built without a warning and pass what every engine and every
# mode has to pass.
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
my $copy = copy_tree(qw(CHANGELOG LICENSE Makefile README contrib echo.c man
    modes t));
ok keys %$new >= 3 && !grep({ -e "$copy/$_" } keys %$new),
    'files that are new: ' . join ' ', sort keys %$new;
write_file("$copy/$_", $new->{$_}) for keys %$new;
change($copy, $_) for changes($text);
my $built = make_in($copy);
is $built->{status} . $built->{err}, 0, 'is built, without a warning';

like run_command("$copy/echo", 'help')->{out}, qr/^  wait /m, 'a new mode';
like run_command("$copy/echo", 'help', 'serve')->{out}, qr/ --poll /,
    'a new way to wait';

# Tests of the copy, on the copy.
{
	local $ENV{ECHO_DIR};
	delete $ENV{ECHO_DIR};
	for (qw(05-smoke 10-dispatch 92-manual)) {
		my $run = run_command($^X, "$copy/t/$_.t");
		is $run->{status}, 0, "t/$_.t" or
		    diag $run->{err}, grep { /^not ok/ } split /^/,
		    $run->{out};
		like $run->{out}, $_ eq '05-smoke' ? qr/--poll/ : qr/\bwait\b/,
		    "t/$_.t: what is new is tested";
	}
}

# More clients than select has room for, and what a rude world does.
my $server = start_command("$copy/echo", 'serve', '--poll', '-q', '--port=0');
my $run = run_command("$copy/echo", 'check', '--profile=robust',
    $server->address);
is $run->{status}, 0, 'check: the new engine is right' or diag $run->{out};
$run = run_command("$copy/echo", 'bench', '-c10', '--idle=1200', '-d200ms',
    $server->address);
is $run->{status}, 0, 'bench: many clients' or diag $run->{err};

my @wait = ("$copy/echo", 'wait');
is run_command(@wait, '-a', $server->address)->{status}, 0,
    'wait: somebody is there';
my $socket = "unix:$copy/socket";
$run = run_command(@wait, '-a', $socket, '-t100ms');
is $run->{status}, 5, 'wait: nobody is';
like $run->{err}, qr/\Aecho wait: cannot connect to \Q$socket\E: /,
    'and that is said';
my $waiting = spawn(sub {
	my $run = run_command(@wait, '-a', $socket, "-t${DEADLINE}s");
	die "$run->{status} $run->{err}" if $run->{status} != 0;
});
my $late = start_command("$copy/echo", 'serve', '--poll', '-q', '-a', $socket);
waitpid $waiting, 0;
is $?, 0, 'wait: somebody is, in time';
$_->stop for $server, $late;

done_testing;
