# Signals: signals that the parent has blocked, several signals at once, and a
# supervisor that dies while a worker starts.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use POSIX ();
use Test::More;

# Blocks the signals of a server, and runs a command.
my @blocked = ($^X, '-MPOSIX', '-e', 'sigprocmask(SIG_BLOCK, ' .
    'POSIX::SigSet->new(SIGTERM, SIGINT, SIGUSR1, SIGCHLD)); exec @ARGV');

for my $engine (engines()) {
	my $server = start_server({ wrap => \@blocked }, $engine);
	is exchange(dial($server), 'x', 1), 'x',
	    "$engine: started with blocked signals, it serves";
	$server->stop('TERM');

	# Both signals arrive before the server runs again: they are one
	# request to stop.
	$server = start_server($engine, '--stream', '--gap=5s');
	my $sock = dial($server);
	exchange($sock, 'x', 1);
	my @processes = $server->processes;
	kill STOP => @processes;
	kill TERM => $server->pid;
	kill INT => $server->pid;
	kill CONT => @processes;
	$server->wait_log(qr/^stopping/m);
	is exchange($sock, 'y', 1), 'y',
	    "$engine: TERM and INT at once are one request to stop";
	close $sock;
	$server->stop(undef);
}

SKIP: {
	skip 'no strace here that can delay a call', 1 if run_command('strace',
	    '-f', '-e', 'inject=prctl:delay_enter=1', 'true')->{status} != 0;
	# The supervisor is already dead when the worker asks for a signal about
	# the supervisor's death.
	my $server = start_command({ no_wait => 1 }, 'strace', '-f', '-qq',
	    '-o', '/dev/null', '-e', 'inject=prctl:delay_enter=700000',
	    program(), 'serve', usual_engine(), '--workers=2', '--port=0', '-q');
	my $children = sub { split ' ', eval {
	    slurp("/proc/$_[0]/task/$_[0]/children") } // '' };
	my ($supervisor, @workers);
	wait_until(sub {
		($supervisor) = $children->($server->pid);
		@workers = $supervisor ? $children->($supervisor) : ();
		@workers == 2;
	});
	kill KILL => $supervisor;
	ok defined wait_until(sub { !grep { !process_gone($_) } @workers }),
	    'no worker outlives a supervisor that died while it started';
	end_processes(grep { !process_gone($_) } @workers);
	$server->wait;
}

# A worker that dies young is replaced after half a second, not at once.
SKIP: {
	skip 'a build with a sanitizer starts slowly', 1 if sanitized();
	my $server = start_server(usual_engine(), '--workers=2', '-q');
	$server->allow(qr/^echo serve: worker /);
	my $started = sub {
		my @stat = split ' ', slurp("/proc/$_[0]/stat") =~ s/.*\) //r;
		$stat[19] / POSIX::sysconf(POSIX::_SC_CLK_TCK());
	};
	my ($old) = my @before = $server->workers;
	my $replacement = sub {
		my %known = map { $_ => 1 } @_;
		my ($new) = grep { !$known{$_} } $server->workers;
		return $new;
	};
	wait_until(sub { 2 == $server->workers });
	select undef, undef, undef, 0.6;	# the workers are old enough
	kill KILL => $old;
	wait_until(sub { $replacement->(@before) });
	my $young = $replacement->(@before);
	my $at = $started->($young);
	kill KILL => $young;
	wait_until(sub { $replacement->(@before, $young) });
	my $next = $replacement->(@before, $young);
	cmp_ok $started->($next) - $at, '>=', 0.45,
	    'a worker that dies young is not replaced at once';
	$server->stop;
}

done_testing;
