package cli

import (
	"os"

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
