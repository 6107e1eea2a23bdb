package compile

// cacheVariables decide, beside those of the go command, where it keeps things
// (os.UserCacheDir).
var cacheVariables = []string{"GOCACHE", "XDG_CACHE_HOME", "LocalAppData", "USERPROFILE", "home"}

// Fingerprint sums up all that `go env` goes by: the toolchain, the environment,
// and what `go env -w` wrote. It is an error where not all of that is known.
func (c *Compiler) Fingerprint() (string, error) {
	env := c.environment()
	facts, err := c.toolchain(env)
	if err != nil {
		return "", err
	}
	facts = append(facts, sortInputs(env.settings(""))...)
	for _, name := range cacheVariables {
		facts = append(facts, input{name, digestOf(env.get(name))})
	}
	return digestOf(facts), nil
}
