# The manual: a page for each mode, in good mdoc(7), which tells of every option
# that --help has and of no other, with the same values and defaults.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

# The options of --help, by long name: { short, value, text }.
sub options_of_help {
	my ($mode) = @_;
	my ($help) = split /^exit status:/m, run_echo($mode, '--help')->{out};
	my ($name, %found);
	for (split /\n/, $help) {
		if (/^ +(?:-(\w), )?--([\w-]+)(?:=(\S+))?(?: +|$)(.*)/) {
			$name = $2;
			$found{$name} = { short => $1 // '', value => $3 // '',
			    text => $4 };
		} elsif ($name && /^ {20,}(\S.*)/) {
			$found{$name}{text} .= " $1";
		} else {
			$name = undef;
		}
	}
	return \%found;
}

# The same from the page, where an option is an item of a list.
sub options_of_page {
	my ($page) = @_;
	my %found;
	my (undef, @items) = split /^\.It Fl /m, $page;
	for (@items) {
		my ($head, $text) =
		    /^(\N*)\n(.*?)(?=^\.(?:It|El|S[hs])\b|\z)/ms;
		my ($short, $name, $value) = $head =~
		    /^(?:(\w) , Fl )?-([\w-]+)(?: Ns = Ns Ar (\S+))?$/ or
		    die "not an option: $head";
		$text =~ s/^\.\w\w //gm;
		$found{$name} = { short => $short // '', value => $value // '',
		    text => $text };
	}
	return \%found;
}

# The words of "(default 60s, --blocking 10s)".
sub defaults { map { split /[\s,]+/ } $_[0] =~ /\(default ([^);]*)/g }

sub section {
	my ($page, $name) = @_;
	return $page =~ /^\.Sh \Q$name\E\n(.*?)(?=^\.Sh |\z)/ms ? $1 : '';
}

my %modes = modes();
for my $mode (sort keys %modes) {
	my $link = $modes{$mode};
	my $file = in_tree("man/$link.1");
	ok -e $file, "a page for $mode" or next;
	my $page = slurp($file);

	my ($help, $in_page) = (options_of_help($mode), options_of_page($page));
	my $brief = sub {
		my ($options) = @_;
		return join "\n", map {
			"-$options->{$_}{short} --$_=$options->{$_}{value}"
		} sort keys %$options;
	};
	cmp_ok keys %$help, '>=', 4, "$mode: --help lists options";
	is $brief->($in_page), $brief->($help), "$link: the options of --help";
	for my $name (sort keys %$help) {
		my $text = $in_page->{$name}{text} // '';
		for my $word (defaults($help->{$name}{text})) {
			my $bare = $word =~ s/^--/-/r;
			like $text, qr/(?<![\w.])\Q$bare\E(?!\w)/,
			    "$link: --$name: $word";
		}
	}

	like $page, qr/^\.Nm $link\n\.Nd .+\n/m, "$link: its name";
	my @lacking = grep { !section($page, $_) } 'SYNOPSIS', 'DESCRIPTION',
	    'EXIT STATUS', 'EXAMPLES', 'SEE ALSO', 'STANDARDS',
	    $mode eq 'serve' ? qw(SIGNALS CAVEATS) : ();
	is "@lacking", '', "$link: no section is lacking";
	like section($page, 'STANDARDS'), qr/RFC 862/, "$link: its standard";

	# Each status that is told of is one of the table; 0 and 2 always are.
	my @statuses = section($page, 'EXIT STATUS') =~ /^\.It (.*)/mg;
	my $table = join '', run_echo($mode, '--help')->{out} =~ /^  (\d)  /mg;
	is join('', grep { !/^[$table]$/ } @statuses), '',
	    "$link: no status that there is not";
	like "@statuses", qr/^0 .*\b2\b.* 7$/, "$link: the statuses";
	like section($page, 'SEE ALSO'), qr/^\.Xr echo_server 1/m,
	    "$link: leads to the main page" if $mode ne 'serve';
}

my $main = slurp(in_tree('man/echo_server.1'));
like $main, qr/^\.Xr $_ 1/m, "echo_server: leads to $_"
    for grep { $_ ne 'echo_server' } sort values %modes;

is join(' ', sort map { s{.*/}{}r } glob in_tree('man/*.1')),
    join(' ', sort map { "$_.1" } values %modes), 'no page without its mode';

SKIP: {
	skip 'no mandoc here', 1
	    if run_command('mandoc', '-V')->{status} == 127;
	my $lint = run_command('mandoc', '-Tlint', '-Wwarning',
	    sort glob in_tree('man/*.1'));
	is $lint->{out} . $lint->{err}, '', 'mandoc has no warning';
}

done_testing;
