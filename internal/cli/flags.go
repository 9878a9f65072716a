package cli

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"cctask/engine/task"
)

type optionFlag struct {
	task.Option
	to *task.Draft
}

// registerOptions adds a flag for each option; what is given goes into a draft.
func registerOptions(fl *pflag.FlagSet, options []task.Option, to *task.Draft) {
	for _, o := range options {
		fl.VarP(optionFlag{o, to}, o.FlagName(), map[string]string{"working_dir": "C"}[o.Name], o.Help)
		if o.Kind == task.KindToggle {
			fl.Lookup(o.FlagName()).NoOptDefVal = "true"
		}
	}
}

// Group is the heading of the flag in a help.
func (f optionFlag) Group() string { return "Task options" }

func (f optionFlag) String() string { return "" }

func (f optionFlag) Type() string {
	if f.Kind == task.KindToggle {
		return "bool"
	}
	return f.Arg
}

func (f optionFlag) Set(s string) error {
	if f.Kind == task.KindObject && !task.IsInline(s) {
		b, err := os.ReadFile(s)
		if err != nil {
			return err
		}
		s = string(b)
	}
	return f.to.TakeText(f.Option, s)
}

// wholeFlag is a flag's number in decimal: pflag's own takes 010 for eight.
type wholeFlag struct {
	to          *int64
	least, most int64
}

func whole(to *int64, def, least, most int64) wholeFlag {
	*to = def
	return wholeFlag{to, least, most}
}

func (f wholeFlag) String() string {
	if f.to == nil || *f.to == 0 || *f.to < f.least {
		return "" // none is said in the help
	}
	return strconv.FormatInt(*f.to, 10)
}

func (wholeFlag) Type() string { return "int" }

func (f wholeFlag) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < f.least || n > f.most {
		return fmt.Errorf("want a whole number from %d to %d", f.least, f.most)
	}
	*f.to = n
	return nil
}
