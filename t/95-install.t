# What make installs, and that it takes all of it away again; the tarball, the
# same bytes whoever makes it; make demo.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Find;
use File::Path qw(make_path);
use File::Temp ();
use Test::More;

plan skip_all => 'no make here' if system('make -v >/dev/null 2>&1') != 0;

my $tree = in_tree('');
my $out = $ENV{ECHO_DIR} // '.';

# On the program as it is: -o and -W would rebuild, so nothing is to be built.
sub make { run_make($tree, @_) }

sub tree_of {
	my ($dir) = @_;
	my @found;
	find(sub { push @found, $File::Find::name =~ s{^\Q$dir\E}{}r
	    unless -d && !-l }, $dir);
	return join "\n", sort @found;
}

my @links = sort values %{ { modes() } };

SKIP: {
	skip 'make would have to build here', 11
	    if $out ne '.' || make('-q', 'all')->{status} != 0;
	my $dest = File::Temp->newdir;
	my @to = ("DESTDIR=$dest", 'PREFIX=/usr');

	# What others have put there stays.
	my @others = map { "/usr/$_" } 'bin/other', 'share/doc/echo/other';
	for (@others) {
		make_path("$dest$_" =~ s{/[^/]+$}{}r);
		open my $f, '>', "$dest$_" or die $!;
	}
	my $wanted = join "\n", sort @others, map { "/usr/$_" }
	    'libexec/echo/echo',
	    (map { "bin/$_" } @links),
	    (map { "share/man/man1/$_.1" } @links),
	    (map { "share/bash-completion/completions/$_" } @links),
	    'share/zsh/site-functions/_echo_server',
	    (map { "share/doc/echo/$_" } qw(CHANGELOG LICENSE README));
	{
		my $umask = umask 077;
		is make('install', @to)->{status}, 0, 'make install';
		umask $umask;
	}
	is tree_of($dest), $wanted, 'all of it where it belongs';
	is make('install', @to)->{status}, 0, 'make install once more';
	is tree_of($dest), $wanted, 'changes nothing';
	my $wrong = '';
	find(sub {
		my $mode = -d || m{^echo$} ? 0755 : 0644;
		$wrong .= "$File::Find::name\n"
		    if !-l && $_ ne 'other' && (stat)[2] % 01000 != $mode;
	}, "$dest/usr");
	is $wrong, '', 'for everybody to read, and nobody else to write';

	my $link = "$dest/usr/bin/echo_client";
	is readlink $link, '../libexec/echo/echo', 'relative links';
	my $run = run_command($link, '--version');
	like $run->{out}, qr/^echo \d/, 'that work where they are';
	my @absolute = grep { slurp("$dest/usr/$_") =~ /\Q$dest\E/ }
	    split /\n/, tree_of("$dest/usr");
	is "@absolute", '', 'nothing knows of DESTDIR';

	is make('uninstall', @to)->{status}, 0, 'make uninstall';
	is tree_of($dest), join("\n", @others), 'leaves nothing of ours';
	ok !-e "$dest/usr/libexec/echo" && -e "$dest/usr/share/doc/echo",
	    'nor a folder, unless somebody else has something there';
}

# Made here, and made again from itself in a folder of its own, without git and
# by somebody with other habits.
SKIP: {
	skip 'no GNU tar here', 6
	    if run_command('tar', '--version')->{out} !~ /GNU tar/;
	my $tmp = File::Temp->newdir;
	my ($version) = run_echo('--version')->{out} =~ /^echo (\S+)/;
	my $tarball = "$tmp/echo-$version.tar.gz";
	is make('dist', "OUT=$tmp")->{status}, 0, 'make dist';
	my $first = slurp($tarball);
	my @extract = ('tar', '-xzf', $tarball, '-C', "$tmp");
	is run_command(@extract)->{status}, 0, 'a tarball of that version';
	my $own = "$tmp/echo-$version";
	my $built = run_make($own, '-j2');
	is $built->{status} . $built->{err}, '0', 'builds from itself' or
	    diag show($built->{err}, 2000);
	{
		local @ENV{qw(LC_ALL TZ)} = ('C.UTF-8', 'Asia/Tokyo');
		my $umask = umask 027;
		chmod 0600, "$own/README" and utime 1, 1, "$own/README" or
		    die $!;
		is run_make($own, 'dist')->{status}, 0, 'makes a tarball';
		umask $umask;
	}
	ok slurp("$own/echo-$version.tar.gz") eq $first, 'of the same bytes';
	local $ENV{ECHO_DIR};
	delete $ENV{ECHO_DIR};
	is run_command($^X, "$own/t/10-dispatch.t")->{status}, 0,
	    'with tests that pass';
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
