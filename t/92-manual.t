# The manual: one page for each mode, in valid mdoc(7), with the options, values
# and defaults of --help, and with the exit statuses of the program.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

# The options in --help, by long name: { short, value, text }.
sub options_of_help {
	my ($mode) = @_;
	my ($help) = split /^exit status:/m, run_echo($mode, '--help')->{out};
	my ($name, %found);
	for (split /\n/, $help) {
		if (/^ {2,6}(?:-(\w), )?--([\w-]+)(?:=(\S+))?(?: +|$)(.*)/) {
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

# The same from a page, in which each option is an item of a list.
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

# Options as lines that can be compared.
sub lines_of {
	my ($options) = @_;
	return join "\n", map {
		"-$options->{$_}{short} --$_=$options->{$_}{value}"
	} sort keys %$options;
}

# The words of "(default 60s, --blocking 10s)".
sub defaults { map { split /[\s,]+/ } $_[0] =~ /\(default ([^);]*)/g }

sub section {
	my ($page, $name) = @_;
	return $page =~ /^\.Sh \Q$name\E\n(.*?)(?=^\.Sh |\z)/ms ? $1 : '';
}

# The exit statuses of a page: { status => text on one line }.
sub statuses_of_page {
	my ($page) = @_;
	my ($list) = section($page, 'EXIT STATUS') =~ /^(\.It .*?)^\.El$/ms;
	my %found = ($list // '') =~ /^\.It (\d)\n(.*?)(?=^\.It |\z)/msg;
	tr/\n/ / for values %found;
	return %found;
}

# The table of exit statuses in --help: { status => meaning }.
my %statuses = run_echo('serve', '--help')->{out} =~ /^  (\d)  (.*)$/mg;

# A word that --help and every page must contain for a status.
my %meaning = (2 => qr/usage|wrong/i, 3 => qr/resolved/, 4 => qr/refused/,
    5 => qr/\btime/i, 6 => qr/unreachable/,
    7 => qr/local failure/i);

subtest 'exit statuses in --help and the README' => sub {
	like $statuses{$_}, $meaning{$_}, "--help: the meaning of $_"
	    for sort keys %meaning;
	my %readme = slurp(in_tree('README')) =~ /^\| (\d) \| (.*) \|$/mg;
	is_deeply \%readme, \%statuses, 'README: the table of --help';
};

my %modes = modes();
for my $mode (sort keys %modes) {
	my $link = $modes{$mode};
	my $file = in_tree("man/$link.1");
	ok -e $file, "mode $mode has a page, $link" or next;
	my $page = slurp($file);

	subtest "$link: options" => sub {
		my $help = options_of_help($mode);
		my $in_page = options_of_page($page);
		cmp_ok keys %$help, '>=', 4, 'number of options in --help';
		# The manual also contains options that this system does not
		# have.
		delete @$in_page{grep { !$help->{$_} &&
		    $in_page->{$_}{text} =~ /\bexists?,? on .* only/s }
		    keys %$in_page};
		is lines_of($in_page), lines_of($help), 'those of --help';
		for my $name (sort keys %$help) {
			my $text = $in_page->{$name}{text} // '';
			for my $word (defaults($help->{$name}{text})) {
				my $bare = $word =~ s/^--/-/r;
				like $text, qr/(?<![\w.])\Q$bare\E(?!\w)/,
				    "default of --$name: $word";
			}
		}
	};

	subtest "$link: sections" => sub {
		like $page, qr/^\.Nm $link\n\.Nd .+\n/m, 'NAME';
		my @missing = grep { !section($page, $_) } 'SYNOPSIS',
		    'DESCRIPTION', 'EXIT STATUS', 'EXAMPLES', 'SEE ALSO',
		    'STANDARDS', $mode eq 'serve' ? qw(SIGNALS CAVEATS) : ();
		is "@missing", '', 'no section is missing';
		like section($page, 'STANDARDS'), qr/RFC 862/, 'STANDARDS';
		like section($page, 'SEE ALSO'), qr/^\.Xr echo_server 1/m,
		    'SEE ALSO refers to the main page' if $mode ne 'serve';
	};

	subtest "$link: exit statuses" => sub {
		my %in_page = statuses_of_page($page);
		is join('', grep { !defined $statuses{$_} }
		    sort keys %in_page), '', 'only those of --help';
		like join('', sort keys %in_page), qr/^0.*2.*7$/,
		    'at least 0, 2 and 7';
		like $in_page{$_}, $meaning{$_}, "the meaning of $_"
		    for grep { $meaning{$_} } sort keys %in_page;
	};
}

my $main = slurp(in_tree('man/echo_server.1'));
like $main, qr/^\.Xr $_ 1/m, "echo_server: refers to $_"
    for grep { $_ ne 'echo_server' } sort values %modes;

is join(' ', sort map { s{.*/}{}r } glob in_tree('man/*.1')),
    join(' ', sort map { "$_.1" } values %modes), 'one page for each mode';

SKIP: {
	skip 'no mandoc', 1 if run_command('mandoc', '-V')->{status} == 127;
	my $lint = run_command('mandoc', '-Tlint', '-Wwarning',
	    sort glob in_tree('man/*.1'));
	is $lint->{out} . $lint->{err}, '', 'mandoc prints no warning';
}

done_testing;
