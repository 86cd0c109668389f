# What contrib has for others to run: the units are well formed and confined,
# and every command in them, in the image and in the cluster's file is one that
# works. What doc/scaling names is there.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my %modes = modes();
my %mode_of = reverse %modes;

# A command line: its mode is one, and each of its options.
sub knows {
	my ($what, @words) = @_;
	my $name = shift(@words) =~ s{.*/}{}r;
	my $mode = $mode_of{$name} // shift @words // '';
	ok $modes{$mode}, "$what: $name: a mode" or return;
	my $help = run_echo($mode, '--help')->{out};
	my @unknown = grep { $help !~ /^ {2,6}(?:-\w, )?\Q$_\E(?:[= ]|$)/m }
	    map { s/=.*//r } grep { /^--/ } @words;
	is "@unknown", '', "$what: $name $mode: options that there are";
}

# Runs what serves, with a port of the system's choice, and what asks whether
# it is well; then nobody is there, and it is not.
sub serves_and_asks {
	my ($what, $serve, $ask) = @_;
	my (undef, @serve) = @$serve;
	my $server = start_command({ name => "$what: @serve" }, program(),
	    @serve, '--port=0');
	my @ask = (program(), @$ask[1 .. $#$ask], '--port=' . $server->port);
	my $asked = run_command(@ask);
	is $asked->{status}, 0, "$what: well" or diag show($asked->{err});
	$server->stop;
	is run_command(@ask)->{status}, 4, "$what: not well any more";
}

# The units. They name the program where make install puts it by default.
my $tmp = File::Temp->newdir;
my @units = map { "echo.$_" } qw(service socket);
my $start;
for my $unit (@units) {
	my $text = slurp(in_tree("contrib/systemd/$unit"));
	if ($text =~ /^ExecStart=(.*)/m) {
		$start = $1;
		my $there = program('echo_server');
		$text =~ s/^ExecStart=\S+/ExecStart=$there/m;
	}
	open my $copy, '>', "$tmp/$unit" or die $!;
	print $copy $text;
	close $copy or die $!;
}
like $start, qr{^/usr/local/bin/echo_server( |$)},
    'the unit starts echo_server';
knows('unit', split ' ', $start);

SKIP: {
	my ($systemd) = run_command('systemd-analyze', '--version')->{out} =~
	    /^systemd (\d+)/;
	skip 'no systemd-analyze here that can do without systemd (250)', 2
	    if ($systemd // 0) < 250;
	my @analyze = ({ wrap => ['env', '-C', "$tmp"] }, 'systemd-analyze');
	my $verify = run_command(@analyze, 'verify', '--man=no',
	    map { "./$_" } @units);
	is $verify->{status} . $verify->{out} . $verify->{err}, '0',
	    'systemd-analyze has nothing to say';
	my $security = run_command(@analyze, 'security', '--offline=yes',
	    '--threshold=15', './echo.service');
	is $security->{status}, 0, 'exposed by 1.5 at most' or
	    diag show($security->{out} . $security->{err}, 9000);
}

# The image: what it is built from, and what runs in it.
my $image = slurp(in_tree('contrib/Dockerfile'));
my ($built) = $image =~ m{^COPY --from=build /src/(\S+)/echo /echo$}m;
like run_make(in_tree(''), '-n', 'static')->{out}, qr{\bOUT=\./\Q$built\E },
    'the image: what make static builds';
my @serve = map { exec_form('Dockerfile', $_) } qw(ENTRYPOINT CMD);
my @ask = exec_form('Dockerfile', 'HEALTHCHECK.*?CMD');
like $image, qr/^USER [1-9]\d*:[1-9]\d*$/m, 'a user by number, not root';
like $image, qr/^STOPSIGNAL SIGTERM$/m, 'a signal that stops it';
my ($exposed) = $image =~ /^EXPOSE (\d+)$/m;
my ($default) = run_echo('serve', '--help')->{out} =~
    /--port=.*?\(default (\d+)\)/s;
is $exposed, $default, 'the port that it serves';

# The cluster's.
my $cluster = slurp(in_tree('contrib/kubernetes.yaml'));
my @served = map { exec_form('kubernetes.yaml', $_) } qw(\s+command: \s+args:);
my @probe = exec_form('kubernetes.yaml', '\s+exec:\s+command:');
is join(' ', $cluster =~ /containerPort: (\d+)/g), $default, 'the port there';
unlike $cluster, qr/\t/, 'no tab in YAML';
my ($version) = run_echo('--version')->{out} =~ /^echo (\S+)/;
like $cluster, qr/^ +image: echo:\Q$version\E$/m, 'the image of this version';

knows('image', @$_) for \@serve, \@ask;
knows('cluster', @$_) for \@served, \@probe;
is join(' ', map { $_->[0] } \@serve, \@ask, \@served, \@probe),
    '/echo /echo /echo /echo', 'the program where it is';
serves_and_asks('image', \@serve, \@ask);
serves_and_asks('cluster', \@served, \@probe);

my $scaling = slurp(in_tree('doc/scaling'));
my $all = join '', map { run_echo($_, '--help')->{out} } keys %modes;
my %named = map { $_ => 1 } $scaling =~ /(?<![\w-])(--[a-z][\w-]+)/g;
cmp_ok keys %named, '>', 5, 'doc/scaling names options';
my @unknown = grep { $all !~ /^ {2,6}(?:-\w, )?$_(?:[= ]|$)/m } keys %named;
is "@unknown", '', 'that there are';
for my $path ($scaling =~ m{(contrib/[\w./]+\w)}g) {
	ok -e in_tree($path), "$path is there";
}
my ($drained) = $scaling =~ m{set server\s+(\S+/\S+) state};
my ($backend, $name) = split m{/}, $drained;
like slurp(in_tree('contrib/haproxy.cfg')),
    qr/^backend $backend\n(?:.*\n)*?\tserver $name /m, "as is $drained";

done_testing;
