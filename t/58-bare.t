# A bare machine: no /proc, nothing in /etc, no file that can be written. What
# cannot work there says so; the rest works.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

plan skip_all => 'a sanitizer needs more than is there' if sanitized();

my $unshare = $> == 0 ? 'unshare -m' : 'unshare -rm';
my @bare = ('sh', '-c', "exec $unshare sh -c 'mount -t tmpfs none /etc && " .
    'mount -t tmpfs none /proc && mount -o remount,bind,ro / && ' .
    'exec "$@"\' sh "$@"', 'sh');

my $lacks = run_echo({ command => 'sh', wrap => \@bare }, '-c',
    'test -e /proc/self || test -e /etc/services || : >/x');
plan skip_all => 'no mount namespace to be had' if $lacks->{err} !~ /^sh: .*\/x/;

for my $engine (engines()) {
	my $server = start_server({ wrap => \@bare }, $engine);
	is exchange(dial($server), 'bare', 4), 'bare', "$engine: it serves";
	my $run = run_echo({ wrap => \@bare }, 'send', '-a',
	    $server->address, 'hello');
	is "$run->{status} $run->{out}", "0 hello\n", "$engine: echo send";
	$run = run_echo({ wrap => \@bare, deadline => 30 }, 'check',
	    '--profile=homework', $server->address);
	is $run->{status}, 0, "$engine: echo check" or diag $run->{out};
	$server->stop;
}

my $run = run_echo({ wrap => \@bare }, 'ports');
is $run->{status}, 0, 'echo ports: a list of its own';
like $run->{out}, qr/^22\/tcp +ssh$/m, 'echo ports: it lists';
like $run->{err}, qr/\Aecho ports: [^\n]*\/etc\/services[^\n]*\n\z/,
    'and says in one line what is missing';
$run = run_echo({ wrap => \@bare }, 'serve', '-a', 'localhost:http');
is $run->{status}, 2, 'the name of a service: exit 2';
like $run->{err}, qr/\A[^\n]*"http" is not a port[^\n]*\n\z/,
    'with one line that names it';

done_testing;
