package condition

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var both = Scope{Tools: true, CallTime: true}

// answer evaluates one condition over raw arguments and says true, false or what went wrong.
func answer(t *testing.T, condition, args string) string {
	t.Helper()
	x, err := Compile(condition, both, Sets{"repos": []string{"acme/web", "acme/api"}, "ports": []int{80, 443}})
	if err != nil {
		return "compile: " + err.Error()
	}
	e := &Evaluator{Args: []byte(args), Vars: sample()}
	yes, err := e.Holds(x, x.Uses().Members)
	if err != nil {
		return "error: " + Cause(err)
	}
	return fmt.Sprint(yes)
}

func sample() Vars {
	return Vars{
		Key:  Key{Name: "ci-bot", Team: "eng", Tags: []string{"ci", "nightly"}},
		User: User{Name: "mary", Groups: []string{"sre"}},
		Tool: Tool{Server: "github", Name: "create_issue", ReadOnly: true},
		Now:  Now{Hour: 7, Weekday: "sat"},
		Call: Call{Action: "tool.call", EstCost: 0.5},
	}
}

func TestConditions(t *testing.T) {
	const wrongType = "error: a value has the wrong type or is out of range"
	for _, c := range []struct{ condition, args, want string }{
		// What is known before a call.
		{`key.team == "eng" && tool.read_only`, ``, "true"},
		{`"ci" in key.tags`, ``, "true"},
		{`"sre" in user.groups && not ("dba" in user.groups)`, ``, "true"},
		{`key.name matches "^ci-"`, ``, "true"},
		{`any(key.tags, # startsWith "night")`, ``, "true"},
		{`now.weekday in ["sat", "sun"] || now.hour < 8`, ``, "true"},

		// A missing argument is an error, whatever is asked of it.
		{`args.env != "prod"`, `{}`, "error: args.env is missing"},
		{`args.env != "prod"`, `{"env":null}`, "error: args.env is missing"},
		{`args.env != "prod"`, `{"env":"dev"}`, "true"},
		{`args.a.b.c == 1`, `{"a":{"b":{}}}`, "error: args.a.b.c is missing"},
		{`args.a.b.c == 1`, `{"a":1}`, "error: args.a.b is read from something that has no members"},
		{`args.list[2] == 1`, `{"list":[1,2]}`, "error: args.list[2] is missing"},
		{`args.list[-1] == 2`, `{"list":[1,2]}`, "true"},
		{`args["env"] == "dev"`, `{}`, "error: args.env is missing"},
		{`args[args.which] == 1`, `{"which":"x","x":1}`, "true"},
		{`all(args.items, .price > 1)`, `{"items":[{"price":2},{}]}`, "error: #.price is missing"},
		{`args.env == "dev"`, ``, "error: args.env is missing"},
		{`args.flag`, `{}`, "error: args.flag is missing"},
		{`args.flag`, `{"flag":true}`, "true"},
		{`not args.flag`, `{"flag":"no"}`, wrongType},

		// Unless the rule says that it may be.
		{`args?.env != "prod"`, `{}`, "true"},
		{`args?.env == "prod"`, `{}`, "false"},
		{`args.a?.b == nil`, `{"a":{}}`, "true"},
		{`args.a?.b == nil`, `{}`, "error: args.a is missing"},
		{`args?.a?.b?.c == nil`, `{}`, "true"},
		{`args?.a.b == 1`, `{}`, "error: args.a.b is missing"},
		{`(args.env ?? "dev") == "dev"`, `{}`, "true"},
		{`(args.a.b ?? 3) == 3`, `{}`, "true"},
		{`(args.a.b ?? 3) == 4`, `{"a":{"b":4}}`, "true"},
		{`(args?.a.b ?? 3) == 3`, `{}`, "true"},
		{`has(args.a.b)`, `{"a":{"b":0}}`, "true"},
		{`has(args.a.b)`, `{}`, "false"},
		{`has(args.a.b)`, `{"a":7}`, "error: args.a.b is read from something that has no members"},
		{`not has(args.force) || args.force == false`, `{}`, "true"},
		{`"" in ["", "x"] && not (args?.env in ["", "x"])`, `{}`, "true"},

		// Numbers are exact where they can be and errors where they cannot.
		{`args.id == 9007199254740993`, `{"id":9007199254740993}`, "true"},
		{`args.id == 9007199254740993`, `{"id":9007199254740992}`, "false"},
		{`args.amount > 500`, `{"amount":500.5}`, "true"},
		{`args.amount > 500`, `{"amount":"900"}`, wrongType},
		{`args.amount > 500`, `{"amount":null}`, "error: args.amount is missing"},
		{`args.amount > 500`, `{"amount":1e300}`, "true"},
		{`args.amount <= 500`, `{"amount":99999999999999999999}`, "false"},
		{`args.n == 5`, `{"n":5.0}`, "true"},
		{`args.n in sets.ports`, `{"n":80.0}`, "true"},
		{`args.price * args.qty <= 1000`, `{"price":4294967296,"qty":4294967296}`, "error: a number is out of range"},
		{`args.a + args.b <= 100`, `{"a":9223372036854775807,"b":1}`, "error: a number is out of range"},
		{`args.a + 1 <= 100`, `{"a":9223372036854775807}`, "error: a number is out of range"},
		{`args.a - args.b <= 100`, `{"a":-9223372036854775807,"b":2}`, "error: a number is out of range"},
		{`abs(args.a) <= 100`, `{"a":-9223372036854775808}`, "false"},
		{`sum(args.list) <= 100`, `{"list":[9223372036854775807,9223372036854775807]}`, "error: a number is out of range"},
		{`sum(map(args.items, .price)) == 7.5`, `{"items":[{"price":5},{"price":2.5}]}`, "true"},
		{`args.a / args.b > 1`, `{"a":0,"b":0}`, "error: a number is out of range"},
		{`args.a % args.b > 1`, `{"a":1,"b":0}`, wrongType},
		{`int(args.s) == 12`, `{"s":"12"}`, "true"},
		{`int(args.s) <= 12`, `{"s":1e300}`, "error: int takes a whole number"},
		{`float(args.s) > 1`, `{"s":"NaN"}`, "error: float takes a number"},
		{`int(args.a) * int(args.b) < 9`, `{"a":4294967296,"b":4294967296}`, "error: a number is out of range"},

		// Comparing.
		{`args.repo in sets.repos`, `{"repo":"acme/web"}`, "true"},
		{`args.repo in sets.repos`, `{"repo":7}`, "false"},
		{`args.repo in sets.repos`, `{"repo":["acme/web"]}`, "false"},
		{`args.env in args.allowed`, `{"env":"a","allowed":["b","a"]}`, "true"},
		{`args.env in args.allowed`, `{"env":["a"],"allowed":[["a"]]}`, "error: lists and objects are not compared as a whole"},
		{`"x" in args`, `{"x":null}`, "true"},
		{`"x" in args.o`, `{"o":{"y":1}}`, "false"},
		{`args.a == args.b`, `{"a":"x","b":"x"}`, "true"},
		{`args.a != args.b`, `{"a":"x","b":"x"}`, "false"},
		{`args.a == args.b`, `{"a":[1],"b":[1]}`, "error: lists and objects are not compared as a whole"},
		{`args.a == args.b`, `{"a":[1],"b":1}`, "false"},
		{`args.a == "1"`, `{"a":1}`, "false"},
		{`args.s matches "^a+$"`, `{"s":"aaa"}`, "true"},
		{`args.s contains "a"`, `{"s":7}`, wrongType},
		{`args.a < args.b`, `{"a":"x","b":"y"}`, "true"},
		{`args.x in 1..10`, `{"x":10}`, "true"},
		{`len(args.title) <= 3`, `{"title":"äöü"}`, "true"},
		{`args.a + "/" + args.b == "x/y"`, `{"a":"x","b":"y"}`, "true"},
		{`let r = args.repo; r startsWith "acme/" && len(r) < 20`, `{"repo":"acme/web"}`, "true"},
		{`keys(args)[0] == "a"`, `{"b":1,"a":2}`, "true"},
		{`any(args.list, # in sets.ports)`, `{"list":[1,443]}`, "true"},
		{`args.list | count(# > 1) == 2`, `{"list":[1,2,3]}`, "true"},
		{`split(args.mail, "@")[1] == "acme.com"`, `{"mail":"mary@acme.com"}`, "true"},
		{`split(args.mail, "@")[1] == "acme.com"`, `{"mail":"mary"}`, "error: the value[1] is missing"},

		// Arguments that cannot be read.
		{`args.a == 1`, `[1]`, "error: the arguments are not one JSON object"},
		{`args.a == 1`, `{"a":1} {}`, "error: the arguments are not one JSON object"},
		{`args.a == 1`, `{"a":1,"a":2}`, "error: the arguments name a member twice"},
		{`args.a == 1`, `{"a":1,"\u0061":2}`, "error: the arguments name a member twice"},
		{`args.a == 1`, `{"a":1,"b":2,"b":3}`, "error: the arguments name a member twice"},
		{`args.a == 1`, `{"a":01}`, "error: the arguments are not one JSON object"},
		{`args.a == 1`, `{"a":1e999}`, "error: the arguments have a number out of range"},
		{`args.a.x == 1`, `{"a":{"x":1,"x":1}}`, "error: the arguments name a member twice"},
		{`args.a == "b"`, "{\"a\":\"\xff\"}", "error: the arguments are not one JSON object"},
	} {
		if got := answer(t, c.condition, c.args); got != c.want {
			t.Errorf("%s with %s\n got %s\nwant %s", c.condition, c.args, got, c.want)
		}
	}
}

func TestFunctions(t *testing.T) {
	for _, c := range []struct{ condition, want string }{
		{`glob("github/*", "github/a/b")`, "true"},
		{`glob("*.md", "README.mdx")`, "false"},
		{`hostOf("https://User@API.Example.COM.:8443/x") == "api.example.com"`, "true"},
		{`hostOf("https://good.example@evil.example/") == "evil.example"`, "true"},
		{`hostOf("//evil.example/") == ""`, "error: hostOf takes an absolute URL"},
		{`hostOf("https://good.example\\@evil.example/") == ""`, "error: hostOf takes an absolute URL"},
		{`domainIn("api.example.com", ["example.com"])`, "true"},
		{`domainIn("Example.com.", "example.COM")`, "true"},
		{`domainIn("badexample.com", ["example.com"])`, "false"},
		{`domainIn("example.com.evil.io", ["example.com"])`, "false"},
		{`domainIn("x", [""])`, "false"},
		{`domainIn("", ["example.com"])`, "error: domainIn takes a host"},
		{`domainIn("x", [1])`, "error: domainIn takes domains that are texts"},
		{`cidrMatch("10.0.0.0/8", "10.1.2.3")`, "true"},
		{`cidrMatch("10.0.0.0/8", "::ffff:10.1.2.3")`, "true"},
		{`cidrMatch("fe80::/10", "fe80::1%eth0")`, "true"},
		{`cidrMatch("10.0.0.0/8", "11.1.2.3")`, "false"},
		{`cidrMatch("10.0.0.0/8", "host")`, "error: cidrMatch takes an address second"},
		{`cidrMatch("10.0.0.0", "10.0.0.0")`, "error: cidrMatch takes a block such as 10.0.0.0/8 first"},
		{`pathWithin("/srv/docs", "/srv/docs/a/../b")`, "true"},
		{`pathWithin("/srv/docs", "/srv/docs")`, "true"},
		{`pathWithin("/srv/docs", "/srv/docs/../../etc/passwd")`, "false"},
		{`pathWithin("/srv/docs", "/srv/docs-private/x")`, "false"},
		{`pathWithin("/", "/etc")`, "true"},
		{`pathWithin("/srv", "srv/x")`, "error: pathWithin takes absolute paths with / between their parts"},
		{`pathWithin("/srv", "/srv\\..\\etc")`, "error: pathWithin takes absolute paths with / between their parts"},
		{`semver("1.4.2", ">=1.2 <2")`, "true"},
		{`semver("v2.0.0-rc.1", "<2")`, "true"},
		{`semver("1.10.0", ">1.9.0")`, "true"},
		{`semver("1.2.3", "1.2.3")`, "true"},
		{`semver("latest", ">=1")`, "error: semver takes a version such as 1.2.3 first"},
		{`semver("1.2.3", "")`, `error: semver takes a constraint such as ">=1.2.0 <2" second`},
		{`semver("1.2.3", "~>1")`, `error: semver takes a constraint such as ">=1.2.0 <2" second`},
		{`semver("1.2.3", "=>1")`, "error: semver knows =, >, >=, < and <="},
		{`values(args)[0] == 1`, "error: args.x is missing"},
	} {
		args := `{}`
		if strings.HasPrefix(c.condition, "values") {
			c.want, args = "true", `{"z":2,"a":1}`
		}
		if got := answer(t, c.condition, args); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.condition, got, c.want)
		}
	}
}

func TestWhatDoesNotCompile(t *testing.T) {
	when := Scope{Tools: true}
	for _, c := range []struct {
		scope           Scope
		condition, want string
	}{
		{when, `args.repo == "x"`, "args is known only when a call is made: test it under if:"},
		{when, `now.hour < 8`, "now is known only when a call is made: test it under if:"},
		{when, `model.name == "x"`, "model is not known here: the rule names only tools:"},
		{Scope{Models: true}, `tool.read_only`, "tool is not known here: the rule names only models:"},
		{Scope{Tools: true, Models: true}, `tool.read_only`, "tool is not known here: the rule names tools: and models:, and knows only what both have; write two rules"},
		{Scope{Tools: true, Grants: true}, `client.name == "cursor"`, "client is what the caller says of itself, so no allow rests on it: use it to deny, or test key or user"},
		{Scope{Tools: true, CallTime: true, Grants: true}, `any([1], client.name == "x")`, "client is what the caller says of itself, so no allow rests on it: use it to deny, or test key or user"},
		{when, `key.taem == "eng"`, `key has no field taem (did you mean "team"?)`},
		{when, `kye.team == "eng"`, `unknown name kye (did you mean "key"?)`},
		{when, `hostof("x") == "y"`, `unknown name hostof (did you mean "hostOf"?)`},
		{when, `key.team in sets.repo`, `unknown set "repo" (did you mean "repos"?)`},
		{when, `len(sets) > 0`, "a set is read by its name: sets.NAME"},
		{when, `sets[key.team] == nil`, "a set is read by its name: sets.NAME"},
		{when, `key.team in sets.ports`, `cannot use string as type int in array`},
		{when, `key.team == 5`, "invalid operation: == (mismatched types string and int)"},
		{when, `key.team`, "expected bool, but got string"},
		{when, `key.team ==`, "unexpected token EOF"},
		{when, `"x" in key`, "in looks into lists, sets and objects"},
		{when, `$env.key.team == "x"`, "$env is not available in policies"},
		{when, `now() != nil`, "now is known only when a call is made: test it under if:"},
		{both, `sort(args.l)[0] == 1`, "sort is not available in policies"},
		{both, `reduce(args.l, #acc + #) == 1`, "reduce is not available in policies"},
		{both, `repeat(args.s, 9) == ""`, "repeat is not available in policies"},
		{both, `first(args.l) == 1`, "first is not available in policies"},
		{both, `args.f(1)`, "only functions can be called: [has glob hostOf cidrMatch pathWithin domainIn semver int float sum keys values]"},
		{both, `let f = glob; f("a", "b")`, "glob is a function: call it"},
		{both, `args.s matches args.p`, "the pattern of matches is written in the rule itself"},
		{both, `args.s matches "("`, "error parsing regexp: missing closing ): `(`"},
		{both, `any(1..args.n, # > 1)`, "the ends of a range are written in the rule itself, at most 10000 apart"},
		{both, `any(1..99999, # > 1)`, "the ends of a range are written in the rule itself, at most 10000 apart"},
		{both, `any(1..10, # > 1) && any(-9223372036854775807..9223372036854775807, # > 1)`, "the ends of a range are written in the rule itself, at most 10000 apart"},
		{both, `any(args.l, # + "x" == "ax")`, "texts are not added up inside a loop"},
		{both, `has(key.team)`, "has takes the path of an argument, such as has(args.repo)"},
		{both, `has("x")`, "has takes the path of an argument, such as has(args.repo)"},
		{both, `let args = 1; args == 1`, "cannot redeclare args"},
		{both, `"` + strings.Repeat("x", exprBytesMax) + `" == ""`, "an expression has at most 4096 bytes: use a set, or several rules"},
		{both, strings.Repeat("1 == 1 && ", 200) + "true", "compilation failed: expression exceeds maximum allowed nodes"},
	} {
		_, err := Compile(c.condition, c.scope, Sets{"repos": []string{"a"}, "ports": []int{1}})
		if err == nil || err.Error() != c.want {
			t.Errorf("%.80s\n got %v\nwant %s", c.condition, err, c.want)
		}
	}
}

func TestCompileErrorsNameTheLine(t *testing.T) {
	for src, line := range map[string]int{
		"true &&\n\"ä\" == \"ä\" &&\nmodel.name == \"x\"": 2,
		"true &&\nkey.taem == \"x\"":                      1,
		"key.taem == \"x\"":                               0,
	} {
		_, err := Compile(src, Scope{Tools: true}, nil)
		if bad, ok := err.(*Error); !ok || bad.Line != line {
			t.Errorf("%q: got %#v, want line %d", src, err, line)
		}
	}
}

func TestUses(t *testing.T) {
	for src, want := range map[string]Uses{
		`key.team == "x"`:                          {},
		`args.a == 1 && args?.b == 2 && args.a.c`:  {Args: true, Members: []string{"a", "b"}},
		`args["a"] == 1 && "b" in args`:            {Args: true},
		`args[key.team] == 1`:                      {Args: true},
		`spend.key_today > 1.0 && now.hour < 8`:    {Spend: true, Now: true},
		`args?.a != 1 && args.b in sets.repos`:     {Args: true, Members: []string{"a", "b"}, Sets: []string{"repos"}, Optional: true},
		`client.name == "x" || has(args.deep.er)`:  {Client: true, Args: true, Members: []string{"deep"}},
		`any(args.list, {.x == 1 && args.y == #})`: {Args: true, Members: []string{"list", "y"}},
	} {
		x, err := Compile(src, both, Sets{"repos": []string{"a"}})
		if err != nil {
			t.Fatal(src, err)
		}
		if got := fmt.Sprint(x.Uses()); got != fmt.Sprint(want) {
			t.Errorf("%s\n got %s\nwant %v", src, got, want)
		}
	}
}

func TestSpendThatIsNotKnownIsAnError(t *testing.T) {
	x, err := Compile(`spend.key_today > 25.0`, both, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &Evaluator{NoSpend: true}
	if yes, err := e.Holds(x, nil); yes || Cause(err) != "what was spent so far is not known" {
		t.Errorf("got %v, %v", yes, err)
	}
}

// Conditions can call methods and reach into whatever they read, so there is nothing to call or reach.
func TestVarsAreBare(t *testing.T) {
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		if n := typ.NumMethod() + reflect.PointerTo(typ).NumMethod(); n > 0 {
			t.Errorf("%v has %d methods", typ, n)
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for f := range typ.Fields() {
			switch {
			case f.Tag.Get("expr") == "":
				t.Errorf("%v.%s has no name for conditions", typ, f.Name)
			case f.Name == "Meter":
			case f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Interface || f.Type.Kind() == reflect.Func:
				t.Errorf("%v.%s shares what it points to", typ, f.Name)
			default:
				check(f.Type)
			}
		}
	}
	check(reflect.TypeFor[Vars]())
}
