# The files in contrib: the systemd units are well formed and confined, and
# every command in them, in the Dockerfile and in kubernetes.yaml works. The
# options and files that doc/scaling names exist.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my %modes = modes();
my %mode_of = reverse %modes;

# A command of contrib with the engine that this system has in the place of
# --epoll. contrib is for Linux.
sub possible { map { /^--epoll$/ ? usual_engine() : $_ } @_ }

# Asserts that a command line has a mode, and only options of that mode.
sub knows {
	my ($what, @words) = @_;
	my $name = shift(@words) =~ s{.*/}{}r;
	my $mode = $mode_of{$name} // shift @words // '';
	ok $modes{$mode}, "$what: $name has a mode" or return;
	my $help = run_echo({ forget => 1 }, $mode, '--help')->{out};
	my @unknown = grep { $help !~ /^ {2,6}(?:-\w, )?\Q$_\E(?:[= ]|$)/m }
	    map { s/=.*//r } grep { /^--/ } possible(@words);
	is "@unknown", '', "$what: all options of $name $mode exist";
}

# Asserts that the health check succeeds while the server runs, and that it
# fails at a port without a server.
sub serves_and_asks {
	my ($what, $serve, $ask) = @_;
	my (undef, @serve) = possible(@$serve);
	my $server = start_command({ name => "$what: @serve" }, program(),
	    @serve, '--port=0');
	my @ask = (program(), @$ask[1 .. $#$ask]);
	is run_command(@ask, '--port=' . $server->port)->{status}, 0,
	    "$what: the health check succeeds";
	$server->stop;
	my ($holder, $closed) = closed_port();
	my ($port) = $closed =~ /:(\d+)/;
	is run_command(@ask, "--port=$port")->{status}, 4,
	    "$what: without a server it fails";
}

# The units name the program where make install puts it by default.
my $tmp = File::Temp->newdir;
my @units = qw(echo.service echo@.service echo.socket);
my %start;
for my $unit (@units) {
	my $text = slurp(in_tree("contrib/systemd/$unit"));
	if ($text =~ /^ExecStart=(.*)/m) {
		$start{$unit} = $1;
		my $there = program('echo_server');
		$text =~ s/^ExecStart=\S+/ExecStart=$there/m;
	}
	open my $copy, '>', "$tmp/$unit" or die $!;
	print $copy $text;
	close $copy or die $!;
}
is join(' ', sort keys %start), 'echo.service echo@.service',
    'two units start a program';
for my $unit (sort keys %start) {
	like $start{$unit}, qr{^/usr/local/bin/echo_server( |$)},
	    "$unit starts echo_server";
	knows($unit, split ' ', $start{$unit});
}
my ($path, $words) = slurp(in_tree('contrib/xinetd')) =~
    /^\tserver\t+= (.*)\n\tserver_args\t+= (.*)$/m;
is $path, $start{'echo@.service'} =~ s/ .*//r,
    'contrib/xinetd has the same program';
knows('xinetd', $path, split ' ', $words);

SKIP: {
	my ($systemd) = run_command('systemd-analyze', '--version')->{out} =~
	    /^systemd (\d+)/;
	skip 'there is no systemd-analyze of version 250 or later', 3
	    if ($systemd // 0) < 250;
	my @analyze = ({ wrap => ['env', '-C', "$tmp"] }, 'systemd-analyze');
	my $verify = run_command(@analyze, 'verify', '--man=no',
	    map { "./$_" } @units);
	is $verify->{status} . $verify->{out} . $verify->{err}, '0',
	    'systemd-analyze verify finds no fault';
	is run_command(@analyze, 'security', '--offline=yes',
	    '--threshold=15', "./$_")->{status}, 0,
	    "the exposure of $_ is at most 1.5" for sort keys %start;
}

# The image.
my $image = slurp(in_tree('contrib/Dockerfile'));
my ($built) = $image =~ m{^COPY --from=build /src/(\S+)/echo /echo$}m;
like run_make(in_tree(''), '-n', 'static')->{out}, qr{\bOUT=\./\Q$built\E },
    'the image has the program that make static builds';
my @serve = map { exec_form('Dockerfile', $_) } qw(ENTRYPOINT CMD);
my @ask = exec_form('Dockerfile', 'HEALTHCHECK.*?CMD');
like $image, qr/^USER [1-9]\d*:[1-9]\d*$/m, 'the user of the image is a number and not root';
like $image, qr/^STOPSIGNAL SIGTERM$/m, 'its stop signal ends the server';
my ($exposed) = $image =~ m{^EXPOSE (.+)$}m;
my ($default) = run_echo('serve', '--help')->{out} =~
    /--port=.*?\(default (\d+)\)/s;
is $exposed, "$default $default/udp", 'its port is the default';

# The cluster.
my $cluster = slurp(in_tree('contrib/kubernetes.yaml'));
my @served = map { exec_form('kubernetes.yaml', $_) } qw(\s+command: \s+args:);
my @probe = exec_form('kubernetes.yaml', '\s+exec:\s+command:');
is join(' ', $cluster =~ /containerPort: (\d+)/g), "$default $default",
    'the port in kubernetes.yaml is the default';
unlike $cluster, qr/\t/, 'kubernetes.yaml has no tab';
my ($version) = run_echo('--version')->{out} =~ /^echo (\S+)/;
like $cluster, qr/^ +image: echo:\Q$version\E$/m, 'it uses the image of this version';

knows('image', @$_) for \@serve, \@ask;
knows('cluster', @$_) for \@served, \@probe;
is join(' ', map { $_->[0] } \@serve, \@ask, \@served, \@probe),
    '/echo /echo /echo /echo', 'all commands name the program in the image';
serves_and_asks('image', \@serve, \@ask);
serves_and_asks('cluster', \@served, \@probe);

my $scaling = slurp(in_tree('doc/scaling'));
my $all = join '', map { run_echo($_, '--help')->{out} } keys %modes;
my %named = map { $_ => 1 } $scaling =~ /(?<![\w-])(--[a-z][\w-]+)/g;
cmp_ok keys %named, '>', 5, 'doc/scaling names options';
my @unknown = grep { $all !~ /^ {2,6}(?:-\w, )?$_(?:[= ]|$)/m }
    possible(keys %named);
is "@unknown", '', 'all of them exist';
for my $path ($scaling =~ m{(contrib/[\w./]+\w)}g) {
	ok -e in_tree($path), "$path exists";
}
my ($drained) = $scaling =~ m{set server\s+(\S+/\S+) state};
my ($backend, $name) = split m{/}, $drained;
like slurp(in_tree('contrib/haproxy.cfg')),
    qr/^backend $backend\n(?:.*\n)*?\tserver $name /m, "haproxy.cfg has $drained";

done_testing;
