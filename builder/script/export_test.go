package script

// MapGoArgs and MapGoEnv are for the tests, which have a table of them.
var (
	MapGoEnv = mapGoEnv
)

// MapGoArgs returns the arguments and the directories that are to be there.
func MapGoArgs(args []string, dir string, host func(string) (string, error)) (mapped, dirs []string, err error) {
	out, err := mapGoArgs(args, dir, host)
	return out.Args, out.Dirs, err
}
