package condition

import (
	"strings"
	"testing"
)

// Loops over what the caller sent stop: each turn is a step, and reading long texts costs more than one.
func TestLoopsStop(t *testing.T) {
	list := `[` + strings.Repeat(`"`+strings.Repeat("x", 20)+`",`, 9000) + `"y"]`
	long := strings.Repeat("a", argTextBytesMax-2)
	args := `{"list":` + list + `,"s":"` + long + `","t":"` + long + `"}`
	for _, condition := range []string{
		`all(args.list, any(args.list, # == "z") == false)`,
		`any(args.list, count(map(args.list, # == "q")) > 9)`,
		`any(args.list, args.s matches "(a|b|ab)*c")`,
		`any(args.list, args.s contains "b")`,
		`any(args.list, lower(args.s) == "b")`,
		`any(args.list, split(args.s, "a") == nil)`,
		`any(args.list, # in args.list && false)`,
		`any(args.list, args.s != args.t)`,
		`any(args.list, args.s < args.t)`,
		`any(args.list, len(args.s) == 1)`,
		`any(args.list, glob("*b*c", args.s))`,
		`any(args.list, len(keys(args)) == 0 && len(args.s) > 0) || any(args.list, args.s == args.t && false)`,
		`any(map(args.list, map(args.list, #)), false)`,
		`any(map(args.list, args.s + args.s), false)`,
	} {
		if got := answer(t, condition, args); got != "error: the arguments need more than 20000 steps" && got != "error: a number is out of range" {
			t.Errorf("%s: got %s", condition, got)
		}
	}
}

func TestTextsDoNotGrow(t *testing.T) {
	condition := `let a = args.s + args.s; `
	for i := range 24 {
		condition += `let ` + string(rune('b'+i)) + ` = ` + string(rune('a'+i)) + ` + ` + string(rune('a'+i)) + `; `
	}
	if got := answer(t, condition+`len(y) > 5`, `{"s":"xxxxxxxxxxxxxxxx"}`); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %s", got)
	}
	if got := answer(t, strings.ReplaceAll(condition, "args.s", "key.name")+`len(y) > 5`, `{}`); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %s", got)
	}
}

func TestStepsOfADecision(t *testing.T) {
	x, err := Compile(`all(args.list, any(args.list, # == 7) == false)`, both, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &Evaluator{Args: []byte(`{"list":[` + strings.Repeat("1,", 9000) + `1]}`)}
	n := 0
	for ; !e.Exhausted(); n++ {
		if _, err := e.Holds(x, nil); err == nil {
			t.Fatal("the loop did not stop")
		}
	}
	if want := DecisionStepsMax/StepsMax + 1; n > want {
		t.Errorf("%d expressions ran, want at most %d", n, want)
	}
	spent := e.meter.total
	if _, err := e.Holds(x, nil); err == nil || e.meter.total != spent {
		t.Errorf("an exhausted decision went on: %v", err)
	}
}

// The arguments of one call must not be seen by the next.
func TestResetForgets(t *testing.T) {
	x, err := Compile(`let secret = args.secret; secret == "s"`, both, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &Evaluator{Args: []byte(`{"secret":"s"}`), Vars: sample()}
	if yes, err := e.Holds(x, nil); !yes || err != nil {
		t.Fatal(yes, err)
	}
	e.Reset()
	if e.Args != nil || e.Vars.Args != nil || e.Vars.Key.Name != "" || e.meter.total != 0 {
		t.Errorf("left over: %+v", e.Vars)
	}
	for _, v := range append(e.machine.Variables, e.machine.Stack[:cap(e.machine.Stack)]...) {
		if v != nil {
			t.Errorf("left over in the machine: %v", v)
		}
	}
}

func BenchmarkLoopWithinLoop(b *testing.B) {
	x, err := Compile(`all(args.list, any(args.list, # < 0) == false)`, both, nil)
	if err != nil {
		b.Fatal(err)
	}
	args := []byte(`{"list":[` + strings.Repeat("1,", 9000) + `1]}`)
	for b.Loop() {
		e := &Evaluator{Args: args}
		if _, err := e.Holds(x, nil); err == nil {
			b.Fatal("not stopped")
		}
	}
}

// Whatever is written and whatever is sent: no panic, no loop that does not stop.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`args.repo in sets.repos && len(args.title) <= 200`, `args?.a?.b ?? 1 == 1`, `any(args.l, .x > 1 && #index < 3)`,
		`let a = args.s + "x"; a matches "^x+$"`, `has(args.a.b) ? args.a.b : false`, `not (now.weekday in ["sat"]) || spend.key_today > 2`,
		`sum(map(filter(args.l, # > 1), # * 2)) % 3 == 0`, `args.l | all(# in 1..3)`, `if args.x { true } else { false }`, `args[args.k][0:2] == "ab"`,
		`-args.n ** 2 > 3`, `cidrMatch("10.0.0.0/8", args.ip) || pathWithin("/a", args.p)`, `{"a": args}.a.b == [1, args.x][1]`, `((((1))))==1`,
	} {
		f.Add(seed, `{"a":{"b":1},"l":[1,2,3],"s":"x","x":true,"k":"s","n":3,"ip":"10.0.0.1","p":"/a/b","repo":"a","title":"t"}`)
	}
	f.Fuzz(func(t *testing.T, condition, args string) {
		x, err := Compile(condition, both, Sets{"repos": []string{"a"}})
		if err != nil {
			return
		}
		e := &Evaluator{Args: []byte(args), Vars: sample()}
		yes, err := e.Holds(x, x.Uses().Members)
		if yes && err != nil {
			t.Fatal("an error that holds")
		}
		if e.meter.total > StepsMax+argTextBytesMax {
			t.Fatalf("%d steps", e.meter.total)
		}
		again, err2 := e.Holds(x, x.Uses().Members)
		if again != yes || (err == nil) != (err2 == nil) {
			t.Fatalf("first %v, %v, then %v, %v", yes, err, again, err2)
		}
	})
}
