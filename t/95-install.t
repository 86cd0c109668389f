# What make installs, and that it takes all of it away again; make demo.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Find;
use File::Temp ();
use Test::More;

plan skip_all => 'no make here' if system('make -v >/dev/null 2>&1') != 0;

my $tree = in_tree('');
my $out = $ENV{ECHO_DIR} // '.';

# make without what the make that runs the tests has told its children, on the
# program as it is: -o and -W would rebuild, so nothing is to be built.
sub make {
	local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	return run_echo({ command => '/bin/sh' }, '-c',
	    'cd "$1" && shift && exec make -s "$@"', 'sh', $tree, @_);
}

sub tree_of {
	my ($dir) = @_;
	my @found;
	find(sub { push @found, $File::Find::name =~ s{^\Q$dir\E}{}r
	    unless -d && !-l }, $dir);
	return join "\n", sort @found;
}

SKIP: {
	skip 'make would have to build here', 5
	    if $out ne '.' || make('-q', 'all')->{status} != 0;
	my $dest = File::Temp->newdir;
	my @to = ("DESTDIR=$dest", 'PREFIX=/usr');
	is make('install', @to)->{status}, 0, 'make install';
	is tree_of($dest), join("\n", sort map { "/usr/$_" }
	    'libexec/echo/echo', map { "bin/$_" }
	    qw(echo_server echo_client echo_ports echo_check echo_bench)),
	    'the links into bin, the program out of the way';
	my $link = "$dest/usr/bin/echo_client";
	is readlink $link, '../libexec/echo/echo', 'relative links';
	my $run = run_echo({ command => $link }, '--version');
	like $run->{out}, qr/^echo \d/, 'that work where they are';
	make('uninstall', @to);
	is tree_of($dest), '', 'make uninstall leaves nothing';
}

my $demo = run_echo({ command => in_tree('contrib/demo') }, program());
is $demo->{status}, 0, 'the demonstration: exit 0';
like $demo->{out}, qr/^server: listening on /m, 'the server speaks';
like $demo->{out}, qr/^client: received "This is a test message\."$/m,
    'the client too';
like $demo->{out}, qr/^server: served 1 client, 23 bytes$/m, 'to the end';

# One whose server does not echo must not pass.
my $fake = File::Temp->new;
print $fake "#!/bin/sh\ntest \"\$1\" = serve || { echo wrong; exit 0; }\n" .
    "exec '" . program() . "' \"\$@\"\n";
close $fake;
chmod 0755, "$fake";
isnt run_echo({ command => in_tree('contrib/demo') }, "$fake")->{status}, 0,
    'the demonstration: not if the message does not come back';

done_testing;
