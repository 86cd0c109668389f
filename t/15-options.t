# Options and addresses: what is wrong is refused at once, in one line that
# says what and why; what is right is taken to mean what it says.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use IO::Select;
use IO::Socket::IP;
use List::Util qw(first shuffle);
use Socket qw(SOCK_STREAM);
use Test::More;

# Every option that takes a value: what kind of value, and what else is wrong
# for it. A new option belongs here; a test below asks for it.
my %options = (
	bench => {
		address => ['address', ':0', '*'],
		port => ['port', '0'],
		timeout => ['duration'],
		connections => ['number', '0'],
		size => ['size', '0', '2G'],
		window => ['number', '0'],
		duration => ['duration', '0'],
		idle => ['number'],
		rounds => ['number', '0'],
		pid => ['number', '0']
	},
	check => {
		address => ['address', ':0', '*'],
		port => ['port', '0'],
		timeout => ['duration', '0'],
		profile => ['name', 'rfc', 'Robust', 'homework,rfc862'],
		only => ['name', 'line,', 'line,,text'],
		skip => ['name', 'line,nosuch', ' line']
	},
	serve => {
		address => ['address'],
		port => ['port'],
		gap => ['duration'],
		idle => ['duration'],
		drain => ['duration'],
		workers => ['number', '0', '257'],
		spin => ['duration'],
		user => ['name'],
		log => ['name', 'JSON', 'xml'],
		'socket-mode' => ['mode'],
		chunk => ['size', '0'],
		'max-clients' => ['number', '0'],
		count => ['number', '0']
	},
	send => {
		address => ['address', ':0', '127.0.0.1:0', '*'],
		port => ['port', '0'],
		timeout => ['duration']
	},
	ports => {}
);

# Without these a value wrongly accepted would do something on port 10000.
my %harmless = (serve => ['--port=0'], send => ['--port=1'],
    check => ['--port=1'], bench => ['--port=1']);

my $huge = '9' x 100_000;
my @no_number = ('', '-1', '+1', ' 7', '7 ', '7x', '0x10', '1e9', "7\n",
    '18446744073709551616', $huge, "7\e[31m\r\a", "7\x9b31m", "7\xc2\x9b31m");
# Times 60000, 1000 or 1024 these are just beyond 2^64.
my %bad = (
	number => [@no_number, '1k', '9223372036854775808'],
	port => [@no_number, '65536', '65537', '99999', '4294967297',
	    'no-such-service'],
	duration => [@no_number, 'ms', '2 s', '2ss', '2S', '2x',
	    '307445734561826m', '18446744073709552s'],
	size => [@no_number, 'k', '16 k', '16kk', '16kB', '16x',
	    '18014398509481985k', '17592186044417M'],
	address => ['', '10007', '10007:7', '[::1', '[::1]x', '[]', '[]:7', '[zz]:7', '[::1]:',
	    '[::1]:7x', '::1:7', '::1', 'a:b:c', ':', 'host:',
	    '127.0.0.1:70000', ':99999', ':-1', ':+7', ': 7', ':7x', ':0x10',
	    ":$huge", "[$huge", 'x' x 100_000, "[\e[31m]", ":7\e[31m\n"]
);
$bad{mode} = [@no_number, '8', '1000', '0777777777777777777777777', 'rw-'];
push @{ $bad{address} }, 'unix:', 'unix:name', 'unix:/' . 'x' x 107, 'unix:@' . 'x' x 107;
$bad{name} = ['', 'nosuch', '-1', "line\e[31m", $huge];
my %good = (
	number => [1, 7],
	duration => [qw(200ms 2s 1m 3)],
	size => [qw(16 64k 1M)]
);

# What is wrong with the way an error was reported.
sub faults {
	my ($run, $status, $program, @named) = @_;
	my $err = $run->{err};
	my @faults;
	push @faults, "exit status $run->{status}, signal $run->{signal}"
	    unless $run->{status} == $status;
	push @faults, 'something on stdout' unless $run->{out} eq '';
	push @faults, 'not one line' unless $err =~ /\A[^\n]+\n\z/;
	push @faults, "not said by $program" if index $err, "$program: ";
	push @faults, map { "not named: $_" } grep { $err !~ $_ } @named;
	push @faults, length($err) . ' bytes long' if length $err >= 300;
	push @faults, 'more than text' if $err =~ /[^\n\x20-\x7e]/;
	push @faults, "took $run->{time} s" if $run->{time} > 2;
	return @faults;
}

sub fails {
	my ($run, $status, $program, $named, $name) = @_;
	my @faults = faults($run, $status, $program, @$named);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok !@faults, $name or diag join("\n", @faults), "\n",
	    'stdout: ', show($run->{out}, 300), "\n",
	    'stderr: ', show($run->{err}, 400);
}

# A word of a command line for the name of a test.
sub brief { show($_[0], 30) =~ s/^\d+ bytes: //r =~ s/\n/\\n/gr }

sub refused {
	my ($mode, $args, $named) = @_;
	my $name = join ' ', "echo $mode", map { brief($_) } @$args;
	my $run = run_echo({ deadline => 10 }, $mode,
	    @{ $harmless{$mode} // [] }, @$args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	fails($run, 2, "echo $mode", $named, "$name: refused");
}

# The options that --help lists: { name => { short, value } }.
sub options_of {
	my ($mode) = @_;
	my %found;
	for (split /\n/, run_echo($mode, '--help')->{out}) {
		$found{$3} = { short => $2, value => defined $4 }
		    if /^ +(-(\w), )?--([\w-]+)(=\S+)?(?= |$)/;
	}
	return \%found;
}

my %link = run_echo('help')->{out} =~ /^  (\w+) .*\b(echo_\w+)/mg;
my @modes = sort keys %link;
my %help = map { $_ => options_of($_) } @modes;

# Values.
for my $mode (@modes) {
	my $help = $help{$mode};
	is_deeply [sort keys %{ $options{$mode} }],
	    [sort grep { $help->{$_}{value} } keys %$help],
	    "echo $mode: the table here has each option with a value";
	for my $name (sort keys %{ $options{$mode} }) {
		my ($kind, @more) = @{ $options{$mode}{$name} };
		my $short = $help->{$name}{short};
		my $option = qr/(?<!\w)--$name\b/;
		refused($mode, ["--$name"], [$option]);
		refused($mode, ["-$short"], [qr/$option|(?<!\w)-$short\b/])
		    if $short;
		for my $value (@{ $bad{$kind} }, @more) {
			my @named = $option;
			# The value, as far as it can be shown, and the range.
			push @named, $value =~ /^[\x20-\x7e]{0,64}\z/ ?
			    qr/"\Q$value\E"/ : (), qr/ \d+\S* to \d+/
			    unless $kind eq 'address' || $kind eq 'name';
			refused($mode, ["--$name=$value"], \@named);
			refused($mode, ["-$short", $value], \@named)
			    if $short;
		}
	}
	for my $name (grep { !$help->{$_}{value} } sort keys %$help) {
		refused($mode, ["--$name=3"], [qr/--$name\b/]);
	}
}
refused($_, ["--address=::1:7"], [qr/\[\S+\]:PORT/])
    for 'serve', 'send', 'check', 'bench';

# Options that there are not, operands that nobody asked for.
for my $mode (@modes) {
	refused($mode, ['--bogus'], [qr/--bogus\b/]);
	refused($mode, ['--bogus=3'], [qr/--bogus\b/]);
	refused($mode, ['-y'], [qr/-y\b/]);
	refused($mode, ["--\e[31m\n"], [qr/--/]);
	refused($mode, ["-\e[31m\n"], [qr/-\\x1b/]);
	refused($mode, ["--$huge"], [qr/--9999/]);
}
# The wrong one of a cluster is named, not the option before it.
refused($_, ['--quiet', '-vy', '--verbose'], [qr/-y\b/, qr/^(?!.*quiet)/])
    for 'serve', 'send';
refused('ports', ['--tcp', '-y'], [qr/-y\b/, qr/^(?!.*tcp)/]);
refused('send', ['--ver'], [qr/--ver\b/]);
refused('serve', @$_) for
    [['foo'], [qr/"foo"/]],
    [['--', '--quiet'], [qr/"--quiet"/]],
    [['-'], [qr/"-"/]],
    [[''], [qr/""/]],
    [["a\e[31m\nb"], [qr/a\\x1b/]],
    [[$huge], [qr/"999/]];

# Options that exclude each other, whichever comes first.
my @engines = grep { !/ / } engines();
my @excluding = (
	['serve', '--message', '--stream'],
	['bench', '--stream', '--connect'],
	['ports', '--tcp', '--udp']
);
for my $i (0 .. $#engines) {
	push @excluding, map { ['serve', $engines[$i], $_] }
	    @engines[$i + 1 .. $#engines];
}
for (@excluding) {
	my ($mode, $one, $other) = @$_;
	my @both = (qr/$one\b/, qr/$other\b/);
	refused($mode, [$one, $other], \@both);
	refused($mode, [$other, $one], \@both);
}

# Called by its link's name it speaks by that name.
for my $mode (@modes) {
	fails(run_echo({ program => $link{$mode} }, '--bogus'), 2,
	    $link{$mode}, [qr/$link{$mode} --help/], "$link{$mode} --bogus");
}
fails(run_echo({ program => 'echo_server', deadline => 10 }, '--port=7x'), 2,
    'echo_server', [qr/--port/], 'echo_server --port=7x');

# Good values.
sub answers {
	my ($address, @options) = @_;
	my $run = run_echo('send', @options, '-a', $address, 'hello');
	return 1 if $run->{status} == 0 && $run->{out} eq "hello\n";
	diag "echo send -a $address: exit status $run->{status}\n",
	    show($run->{out}), "\n", show($run->{err}, 300);
	return 0;
}

for my $name (sort keys %{ $options{serve} }) {
	my ($kind) = @{ $options{serve}{$name} };
	for my $value (@{ $good{$kind} // [] }, $name eq 'idle' ? 0 : ()) {
		my $server = start_server("--$name=$value");
		ok answers($server->address), "--$name=$value: accepted";
		# After one client --count=1 stops by itself.
		$server->stop("$name=$value" eq 'count=1' ? undef : 'TERM');
	}
}
{
	my $server = start_server();
	ok answers($server->address, "--timeout=$_"), "--timeout=$_: accepted"
	    for @{ $good{duration} };
	$server->stop;
}

sub listener {
	return IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0,
	    Type => SOCK_STREAM, Listen => 16, @_);
}

# They mean what they say: this server never answers.
{
	my $silent = listener() or die "listen: $@";
	my $address = '127.0.0.1:' . $silent->sockport;
	for (['200ms', 0.2], ['1', 1], ['1s', 1]) {
		my ($value, $least) = @$_;
		my $run = run_echo({ deadline => 20 }, 'send',
		    "--timeout=$value", '-a', $address, 'hello');
		is $run->{status}, 5, "--timeout=$value: timed out";
		cmp_ok $run->{time}, '>=', $least,
		    "--timeout=$value: not early";
		cmp_ok $run->{time}, '<', 5, "--timeout=$value: not late";
	}
}

# Good addresses, and the hosts that the server then says, in order.
my $v6 = listener(LocalHost => '::1');
my $local = qr/^127\.0\.0\.1$/;
my $local6 = qr/^\[::1\]$/;
# Where no interface has an IPv6 address, [::] may or may not be there.
my $any = $v6 ? qr/^0\.0\.0\.0 \[::\]$/ : qr/^0\.0\.0\.0( \[::\])?$/;
my @served = (
	[$local],
	[$local, '-a127.0.0.1'],
	[$local, '-a127.0.0.1:0'],
	[$local, '-a:0'],
	[$local6, '-a[::1]'],
	[$local6, '-a[::1]:0'],
	[qr/$local|$local6|^127\.0\.0\.1 \[::1\]$/, '-alocalhost:0'],
	[$any, '-a*'],
	[$any, '-a*:0'],
	[qr/^127\.0\.0\.1 127\.0\.0\.1 127\.0\.0\.2$/,
	    '-a127.0.0.1', '--address=:0', '-a', '127.0.0.2:0'],
	# An address's own port goes before that of --port.
	[$local, '-p1', '-a127.0.0.1:0']
);

# All addresses that a server listens on: once one has answered, the others
# have been said as well.
sub addresses {
	my ($server) = @_;
	answers($server->address) or return;
	$server->wait_listening(1)
	    while IO::Select->new($server->{out})->can_read(0);
	return $server->addresses;
}

for my $engine (@engines) {
	for (@served) {
		my ($expected, @args) = @$_;
		my $name = join ' ', $engine, @args;
		SKIP: {
			skip "$name: no IPv6 here", 3
			    if $expected eq $local6 && !$v6;
			skip "$name: nobody knows localhost here", 3 if
			    $name =~ /localhost/ && !gethostbyname 'localhost';
			my $server = start_server($engine, @args);
			my @said = addresses($server);
			# Any port but 1, which nobody has asked for.
			like join(' ', sort map { s/:(?!1$)\d+$//r } @said),
			    $expected, "$name: listens";
			my @asked = grep { $v6 || !/^\[/ } @said;
			is scalar(grep { answers($_) } @asked), @asked,
			    "$name: each address answers as it was said";
			$server->stop;
		}
	}
}

# The last of a repeated option wins.
{
	my $server = start_server('-p1', '--port=0', '--count=5', '-n1');
	isnt $server->port, 1, 'the last --port wins';
	ok answers($server->address, '-a127.0.0.1:1'),
	    'the last --address of send wins';
	$server->stop(undef);
	ok defined $server->{status}, 'the last --count wins';
}

# A service's name for a port; not the same one in all runs at once.
SKIP: {
	my @services;
	while (my @entry = getservent) {
		push @services, $entry[0] if $entry[3] eq 'tcp';
	}
	endservent;
	my $name = first {
		my $port = getservbyname $_, 'tcp';
		$port > 1024 && listener(LocalPort => $port);
	} shuffle(@services);
	skip 'no services database with a free port above 1024', 6 unless $name;
	for my $args (["-p$name"], ['-p1', "-a127.0.0.1:$name"]) {
		my $server = start_server(@$args);
		is $server->port, getservbyname($name, 'tcp'), "serve @$args";
		ok answers("127.0.0.1:$name"), "send -a 127.0.0.1:$name";
		$server->stop;
	}
}

# Names that nobody has; for the second no resolver needs to be asked.
for (['nosuch.invalid', qr/nosuch\.invalid/], ["a\e[31m\nb", qr/a\\x1b/]) {
	my ($host, $named) = @$_;
	for my $mode ('serve', 'send') {
		SKIP: {
			my $name = "echo $mode -a " . brief($host);
			my $run = run_echo({ deadline => 20 }, $mode,
			    @{ $harmless{$mode} }, '-a', $host);
			skip "$name: the resolver takes too long", 1
			    if $run->{signal};
			skip "$name: the resolver here knows it", 1
			    if $run->{status} != 3 && gethostbyname $host;
			$run->{time} = 0;	# it is the resolver's
			fails($run, 3, "echo $mode", [$named], $name);
		}
	}
}

# Ports that are not to be had.
{
	my $holder = listener() or die "listen: $@";
	my $address = '127.0.0.1:' . $holder->sockport;
	my @in_use = (qr/\Q$address\E\b/, qr/in use/i);
	for my $args (['-a', $address], ['-p', $holder->sockport],
	    ['-a:0', '-a', $address]) {
		fails(run_echo({ deadline => 10 }, 'serve', @$args), 7,
		    'echo serve', \@in_use, "serve @$args: in use");
	}
}
SKIP: {
	skip 'this user may listen on port 7', 1
	    if listener(LocalPort => 7) || !$!{EACCES};
	my $run = run_echo({ deadline => 10 }, 'serve', '-p7');
	is "$run->{status} $run->{err}", '7 echo serve: cannot listen on ' .
	    '127.0.0.1:7: Permission denied (ports below 1024 need ' .
	    "CAP_NET_BIND_SERVICE; try --port 10000)\n", 'a privileged port';
}

done_testing;
