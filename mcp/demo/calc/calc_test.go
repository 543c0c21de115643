package calc

import (
	"strings"
	"testing"
)

func TestEval(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"1+2*3", "7"},
		{"(1 + 2) * 3", "9"},
		{"0.1+0.2", "0.3"},
		{"1/3*3", "1"},
		{"1/3", "0.333333333333333333333333333333"},
		{"200/3", "66.6666666666666666666666666667"},
		{"1/8", "0.125"},
		{"10-4-3", "3"},
		{"100/10/2", "5"},
		{"2^3^2", "512"},
		{"2^-2", "0.25"},
		{"-2^2", "-4"},
		{"(-2)^2", "4"},
		{"--3", "3"},
		{"2^200", "1606938044258990275541962092341162602522202993782792835301376"},
		{"2^0.5", "1.4142135623730951"},
		{"(-1)^1000000000", "1"},
		{"(-1)^1000000001", "-1"},
		{"1^-9223372036854775808", "1"},
		{"0^0", "1"},
		{"0^5", "0"},
		{"7%3", "1"},
		{"-7 % 3", "-1"},
		{"5.5%2", "1.5"},
		{"1e3", "1000"},
		{"1.5E-3", "0.0015"},
		{".5", "0.5"},
		{"5.", "5"},
		{"2*e", "5.43656365691809"},
		{"pi", "3.141592653589793"},
		{"SQRT(16)", "4"},
		{"sqrt(1/4)", "0.5"},
		{"sqrt(2)", "1.41421356237309504880168872421"},
		{"abs(-3)+sign(-2)", "2"},
		{"floor(-1.5)", "-2"},
		{"ceil(-1.5)", "-1"},
		{"round(2.5)", "3"},
		{"round(-2.5)", "-3"},
		{"min(3, 1, 2) + max(1,5)", "6"},
		{"hypot(3,4)", "5"},
		{"ln(e)", "1"},
		{"log(100)", "2"},
		{"log2(8)", "3"},
		{"sin(0)", "0"},
		{"1e-40*1e40", "1"},
		{"1/10^40", "1e-40"},
		{"-10^-700", "-1e-700"},
		{"1/3/10^30", "3.33333333333333333333333333333e-31"},
		{"10^400+0.5", "1" + strings.Repeat("0", 400) + ".5"},
		{"2^100/3", "422550200076076467165567735125.3333333333"},
	} {
		if got, err := Eval(c.in); err != nil || got != c.want {
			t.Errorf("%s = %s (%v), want %s", c.in, got, err, c.want)
		}
	}
}

func TestEvalRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "number is missing"},
		{"1+", "number is missing"},
		{"1 2", "not expected"},
		{"(1", "closing parenthesis"},
		{"1)", "not expected"},
		{"1/0", "division by zero"},
		{"1%0", "division by zero"},
		{"0^-1", "division by zero"},
		{"2^2^2^2^2^2", "too big"},
		{"2^-9223372036854775808", "too big"},
		{"1e99999", "too big"},
		{"1e9999*1e9999*1e9999", "too big"},
		{"sqrt(-1)", "not a real number"},
		{"ln(0)", "not a real number"},
		{"(-8)^0.5", "not a real number"},
		{"exp(1000)", "not a real number"},
		{"foo", "no constant"},
		{"system(1)", "no function"},
		{"sqrt(1,2)", "does not take 2"},
		{"hypot(1)", "does not take 1"},
		{"1;2", "not expected"},
		{"π", "expected"},
		{"2e", "not expected"},
		{strings.Repeat("(", 5000), "longer than"},
		{strings.Repeat("(", 200) + "1", "nested deeper"},
		{strings.Repeat("-", 200) + "1", "nested deeper"},
		{strings.Repeat("abs(", 200) + "1", "nested deeper"},
		{"1" + strings.Repeat("^1", 200), "nested deeper"},
		{"min(" + strings.Repeat("1,", 200) + "1)", "arguments"},
	} {
		if got, err := Eval(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.30s = %s, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func FuzzEval(f *testing.F) {
	for _, s := range []string{"1+2*3", "2^-0.5", "sqrt(2)/(7%3)", "max(1,2,-3)", "1e9%.7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Eval(s)
		if err != nil || len(got) > 60 {
			return
		}
		if again, err := Eval(got); err != nil || again != got {
			t.Errorf("%q = %s, which is %s, %v", s, got, again, err)
		}
	})
}
