package redact

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/secret"
)

// short writes tokens without their digests.
var digest = regexp.MustCompile(`:[0-9a-f]{8}>`)

func TestTokensStandForWhatWasFound(t *testing.T) {
	random := "Q7f" + "2kLm9ZpX4vBn8RtW1sYc"
	mask := &Mask{}
	mask.Know(secret.New("a-credential-of-the-config"))
	tokens := NewTokens([]byte("k"), mask)
	for _, tt := range []struct{ in, want string }{
		{"mail Ann.Example+x@mail.example.org, please", "mail <email>, please"},
		{"an@ex and @handle", "an@ex and @handle"},
		{"jörg@bücher.example", "<email>"},
		{"pay 4111 1111 1111 1111 now", "pay <card> now"},
		{"4111-1111-1111-1111/5500005555555559", "<card>/<card>"},
		{"378282246310005", "378282246310005"[:0] + "<card>"},
		{"1 4111 1111 1111 1111 78 5500005555555559 0171 1234567", "1 <card> 78 <card> <phone>"},
		{"4111 1111 1111 1112", "4111 1111 1111 1112"},         // the check digit is wrong
		{"0171 1234567 4111 1111 1111 1111", "<phone> <card>"}, // one run of digits
		{"order 1234567890123456", "order 1234567890123456"},
		{"DE89 3704 0044 0532 0130 00.", "<iban>."},
		{"de89370400440532013000", "<iban>"},
		{"IN10 TEXT GB29 NWBK 6016 1331 9268 19 end", "IN10 TEXT <iban> end"},
		{"DE89 3704 0044 0532 0130 01", "DE89 3704 0044 0532 0130 01"},
		{"+49 171 1234567 or +1 (415) 555-2671", "<phone> or <phone>"},
		{"(415) 555-2671, 415.555.2671, 0171/1234567", "<phone>, <phone>, <phone>"},
		{"ssn 078-05-1120", "ssn <ssn>"},
		{"2026-11-24 120000, 20261124, 192.168.100.200, 0.123456789, 1732440000", "2026-11-24 120000, 20261124, 192.168.100.200, 0.123456789, 1732440000"},
		{"id a12345678901234567", "id a12345678901234567"},
		{"Authorization: Bearer " + random, "Authorization: Bearer <credential>"},
		{"sk-proj-" + random, "sk-<credential>"},
		{"my password is: hunter2", "my password is: hunter2"}, // no notation
		{"password: hunter2, DB_PASSWORD=hunter2", "password: <credential>, DB_PASSWORD=<credential>"},
		{`{\"client_secret\":\"hunter2\"}`, `{\"client_secret\":\"<credential>\"}`},
		{"max_tokens: 4096, tokens: 12", "max_tokens: 4096, tokens: 12"},
		{"got a-credential-of-the-config back", "got [redacted] back"},
		{"", ""},
	} {
		got := tokens.Text(tt.in)
		if short := digest.ReplaceAllString(got, ">"); short != tt.want {
			t.Errorf("%q\n became %q\n want   %q", tt.in, short, tt.want)
		}
		if again := tokens.Text(got); again != got {
			t.Errorf("%q became %q the second time", got, again)
		}
	}
}

// A table of numbers is one run of digits. It must take no longer than other texts of its length: this test would not end.
func TestTokensOfATable(t *testing.T) {
	tokens := NewTokens([]byte("k"), &Mask{})
	for _, row := range []string{"250 33 41 7 ", "4111 1111 1111 1111 ", strings.Repeat("2", 20)} {
		table := strings.Repeat(row, 50_000)
		got := digest.ReplaceAllString(tokens.Text(table), ">")
		if cards := strings.Count(got, "<card>"); row[0] == '4' && cards != 50_000 {
			t.Errorf("%d cards", cards)
		}
	}
}

func TestTokensAreStableAndKeyed(t *testing.T) {
	a, b := NewTokens([]byte("a"), &Mask{}), NewTokens([]byte("b"), &Mask{})
	if x, y := a.Text("Ann@Example.org"), a.Text("ann@example.ORG"); x != y {
		t.Errorf("%s and %s", x, y)
	}
	if x, y := a.Text("4111 1111 1111 1111"), a.Text("4111-1111-1111-1111"); x != y {
		t.Errorf("%s and %s", x, y)
	}
	if a.Text("ann@example.org") == b.Text("ann@example.org") {
		t.Error("the key does not matter")
	}
	if a.Number("4111111111111111") == "" || a.Number("4111111111111112") != "" || a.Number("12") != "" {
		t.Error("numbers")
	}
}

func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"ann@example.org", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "password: x", "+49 171 1234567", "A1@"} {
		f.Add(seed, seed)
	}
	tokens := NewTokens([]byte("k"), &Mask{})
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, planted := range []string{"zq.canary@example.org", "5500 0055 5555 5559", "GB29 NWBK 6016 1331 9268 19"} {
			if got := tokens.Text(before + "\n" + planted + "\n" + after); strings.Contains(got, planted) {
				t.Errorf("%q stays in %q", planted, got)
			}
		}
	})
}
