# make demo: the columns of the server and its clients fit the terminal, nothing
# is lost or out of order, and every failure gives a status other than 0.
# doc/demo.svg, which doc/record has recorded, shows what the program prints now.
use strict;
use utf8;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

my $demo = in_tree('contrib/demo');
my @SIDES = qw(server client);

# What the demonstration prints at a width of the terminal.
sub show_demo {
	my ($width) = @_;
	local $ENV{COLUMNS} = $width;
	my $run = run_command($demo, program());
	is $run->{status} . $run->{err}, '0', "$width columns: exit status" or
	    diag $run->{out};
	utf8::decode($run->{out});
	return split /\n/, $run->{out};
}

# The columns of these lines: [ side, text ], in order.
sub columns {
	my ($titles, $rule, @lines) = @_;
	my $left = index $rule, '-+-';
	is $titles, sprintf("%-${left}s | client", 'server'), 'the titles';
	return map {
		my ($server, $bar, $client) =
		    /^(.{$left})( \|(?: |$))(.*)$/ or fail "two columns: $_";
		$server =~ s/ +$//;
		$server ne '' ? [ server => $server ] : [ client => $client ];
	} @lines;
}

# All that one side has printed, without ports, times, the white space where
# lines are wrapped, and the report of a system that has no sandbox.
sub story_of {
	my ($side, @rows) = @_;
	my $text = join '', map { $_->[1] } grep { $_->[0] eq $side } @rows;
	$text =~ s/\s+//g;
	$text =~ s/echoserve:nosandbox:\D+//g;
	$text =~ s/--port=0|-p\d{4,5}//g;
	$text =~ s/(?<=127\.0\.0\.1:)\d{4,5}/PORT/g;
	$text =~ s/\d+\.\dm?s/TIME/g;
	return $text;
}

my @wide = show_demo(132);
my @rows = columns(@wide);
my %story = map { $_ => story_of($_, @rows) } @SIDES;

subtest 'the server and the clients' => sub {
	my $order = join "\n", map { "$_->[0]: $_->[1]" }
	    grep { $_->[1] !~ /^echo serve: no sandbox: / } @rows;
	like $order, qr/
	    ^server:\ listening\ on\ .*\n
	    client:\ .*send.*"This\ is\ a\ test\ message\."\n
	    server:\ \S+\ connected\n
	    (?=(?:.*\n)*?client:\ This\ is\ a\ test\ message\.\n)
	    (?:.*\n)*?client:\ .*\ returned\ 23\ bytes,\ identical
	    /mx, 'a message, in chronological order';
	like $order, qr/^client: .*send.* ""\n(?:server: .*\n)*client: \n/m,
	    'an empty message';
	like $order, qr/^client: Grüße, Привет, 10 €$/m, 'UTF-8';
	like $order, qr/
	    ^client:\ A:\ Hello\ from\ A\.\n
	    (?:.*\n)*client:\ B:\ B\ does\ not\ have\ to\ wait\.\n
	    (?:.*\n)*client:\ B:\ .*\ identical.*\n
	    (?:.*\n)*client:\ A:\ A\ is\ still\ here\.\n
	    /mx, 'two clients at the same time';
	like $order, qr/
	    ^server:\ \^C\nserver:\ served\ 3\ clients,\ 52\ bytes\n
	    (?:.*\n)*server:\ \^C\nserver:\ served\ 2\ clients,\ 55\ bytes\z
	    /mx, 'the totals of both servers';
};

subtest 'every width' => sub {
	for my $width (80, 132, 60, 59, 40) {
		my @lines = $width == 132 ? @wide : show_demo($width);
		is join("\n", grep { length > $width } @lines), '',
		    "$width columns: every line fits";
		my @shown = $width >= 60 ? columns(@lines) :
		    map { [ /^(server|client): (.*)/ ] } @lines;
		is story_of($_, @shown), $story{$_}, "nothing is lost: $_"
		    for @SIDES;
	}
};

# A program that runs ours, with the changes of the script $wrong. It writes the
# process IDs to a file.
my $ids = File::Temp->new;
sub wrong_program {
	my ($wrong) = @_;
	my $fake = File::Temp->new;
	truncate $ids, 0;
	print $fake "#!/bin/sh\necho \$\$ >>$ids\n$wrong\nexec '" . program() .
	    "' \"\$@\"\n";
	close $fake;
	chmod 0755, "$fake";
	return $fake;
}

sub none_left {
	my @ids = split /\n/, slurp("$ids");
	is join(' ', grep { !process_gone($_) } @ids), '', 'no process is left';
	cmp_ok scalar @ids, '>', 0, 'there were processes';
}

for my $wrong (
	['the reply differs', 'test "$1" = serve || { echo wrong; exit 0; }'],
	['a client fails', 'test "$1" = serve || { echo "$4"; exit 5; }'],
	['a server does not start', 'test "$1" = send || exit 3'],
	['the totals differ', 'test "$1" = serve || ' . program() .
	    ' send -q -p "$3" "one more" >/dev/null']) {
	my ($what, $script) = @$wrong;
	subtest "it fails if $what" => sub {
		my $fake = wrong_program($script);
		my $run = run_command($demo, "$fake");
		isnt $run->{status}, 0, 'exit status';
		like $run->{err}, qr/^contrib\/demo: /, 'it gives the reason';
		none_left();
	};
}

subtest 'it ends if its output is closed' => sub {
	my $fake = wrong_program('');
	my $run = run_command('sh', '-c', "'$demo' $fake | head -n 4");
	like $run->{out}, qr/echo serve/, 'the server was started';
	none_left();
};

subtest 'a signal ends it' => sub {
	# A client that does not end.
	my $fake = wrong_program('test "$1" = serve || exec sleep 60');
	my $pid = spawn(sub {
		open STDOUT, '>', '/dev/null' or die;
		exec { $demo } $demo, "$fake" or die $!;
	});
	ok wait_until(sub { slurp("$ids") =~ /\n\d+\n/ }), 'a client runs';
	kill TERM => $pid;
	waitpid $pid, 0;
	is $? >> 8, 128 + 15, 'exit status';
	none_left();
};

# The lines of an image that doc/record has made.
sub image_rows {
	my ($svg) = @_;
	utf8::decode($svg);
	my %character = (lt => '<', gt => '>', amp => '&');
	my @rows;
	while ($svg =~ /<text class="(?:typed|output).*? x="([\d.]+)".*?>(.*?)<\/text>/g) {
		my ($x, $text) = ($1, $2);
		$text =~ s/&(\w+);/$character{$1}/g;
		push @rows, [ $x < 100 ? 'server' : 'client', $text ];
	}
	return @rows;
}

my $svg = slurp(in_tree('doc/demo.svg'));
subtest 'the recording' => sub {
	is story_of($_, image_rows($svg)), $story{$_},
	    "doc/demo.svg shows the $_ of today (else: make record)" for @SIDES;
	my ($description) = $svg =~ /<desc.*?>(.*?)<\/desc>/s;
	$description =~ s/\s+/ /g;
	my @totals = $description =~ /\d clients, \d+ bytes/g;
	is "@totals", join(' ', map { $_->[1] =~ /^served (.*)/ } @rows),
	    'its description has the totals';
	my $run = run_command(in_tree('doc/record'), '--port=0', program());
	is $run->{status} . $run->{err}, '0', 'doc/record: exit status';
	is story_of($_, image_rows($run->{out})), $story{$_},
	    "doc/record records the $_" for @SIDES;
	my ($head) = $svg =~ /(<style>.*<\/style>)/s;
	ok index($run->{out}, $head) > 0, 'doc/demo.svg is from this script';
};

SKIP: {
	skip 'no xmllint(1) here', 1
	    if run_command('xmllint', '--version')->{status} != 0;
	is run_command('xmllint', '--noout', in_tree('doc/demo.svg'))->{err},
	    '', 'doc/demo.svg is well-formed';
}

done_testing;
