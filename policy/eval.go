package policy

import (
	"fmt"

	"github.com/expr-lang/expr/vm"
)

// evaluator runs expressions for one decision at a time. Sets keep a pool of them.
type evaluator struct {
	machine vm.VM
	vars    vars
	meter   meter

	args    []byte // of the call, until they are decoded
	argErr  error
	decoded bool
	noSpend bool // the call came without a reading of what was spent
}

var errSpend = &evalError{"what was spent so far is not known"}

// reset forgets the last decision: nothing of a call may live on in the pool.
func (e *evaluator) reset() {
	clear(e.machine.Stack[:cap(e.machine.Stack)])
	clear(e.machine.Variables)
	e.vars = vars{}
	e.meter = meter{}
	e.args, e.argErr, e.decoded, e.noSpend = nil, nil, false, false
}

// holds evaluates x. members are the arguments that the rules of this decision read (nil: all of them).
func (e *evaluator) holds(x *expression, members []string) (yes bool, err error) {
	if x == nil {
		return true, nil
	}
	defer func() {
		if r := recover(); r != nil {
			yes, err = false, fmt.Errorf("%v", r)
		}
	}()
	if x.uses.spend && e.noSpend {
		return false, errSpend
	}
	if x.uses.args {
		if err := e.decode(members); err != nil {
			return false, err
		}
	}
	e.meter.left = stepsMax
	e.vars.Meter = &e.meter
	out, err := e.machine.Run(x.program, &e.vars)
	if err != nil {
		return false, err
	}
	yes, ok := out.(bool)
	if !ok {
		return false, &evalError{"the condition is not true or false"}
	}
	return yes, nil
}

func (e *evaluator) decode(members []string) error {
	if !e.decoded {
		e.decoded = true
		e.vars.Args, e.argErr = decodeArgs(e.args, members)
	}
	return e.argErr
}

// exhausted reports whether the decision has used more steps than any may.
func (e *evaluator) exhausted() bool { return e.meter.total > decisionStepsMax }
