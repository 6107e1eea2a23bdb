package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// baseConfig is that of a base image, with room behind the slices, as decoded
// JSON has it: an append in place would show in every copy of it.
func baseConfig() v1.Config {
	return v1.Config{
		Entrypoint:   append(make([]string, 0, 8), "/entry"),
		Cmd:          append(make([]string, 0, 8), "arg"),
		Env:          append(make([]string, 0, 8), "PATH=/bin", "A=1", "B=2"),
		WorkingDir:   "/base",
		User:         "base",
		Labels:       map[string]string{"l": "base", "kept": "yes"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		StopSignal:   "SIGQUIT",
		Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "base"}},
		Shell:        []string{"/bin/ash"},
		OnBuild:      []string{"RUN x"},
	}
}

func TestConfigApply(t *testing.T) {
	tests := []struct {
		name   string
		config plan.Config
		want   func(*v1.Config)
	}{
		{"nothing", plan.Config{}, func(*v1.Config) {}},
		{"entrypoint clears cmd", plan.Config{Entrypoint: []string{"/app", "x"}}, func(c *v1.Config) {
			c.Entrypoint, c.Cmd = []string{"/app", "x"}, nil
		}},
		{"empty entrypoint removes it", plan.Config{Entrypoint: []string{}}, func(c *v1.Config) {
			c.Entrypoint, c.Cmd = nil, nil
		}},
		{"cmd alone", plan.Config{Cmd: []string{"y"}}, func(c *v1.Config) { c.Cmd = []string{"y"} }},
		{"empty cmd removes it", plan.Config{Cmd: []string{}}, func(c *v1.Config) { c.Cmd = nil }},
		{"entrypoint and cmd", plan.Config{Entrypoint: []string{"/app"}, Cmd: []string{"y"}}, func(c *v1.Config) {
			c.Entrypoint, c.Cmd = []string{"/app"}, []string{"y"}
		}},
		{"variable that is there keeps its place", plan.Config{Env: []string{"A=9"}}, func(c *v1.Config) {
			c.Env = []string{"PATH=/bin", "A=9", "B=2"}
		}},
		{"new variables go last", plan.Config{Env: []string{"C=3", "AA=4"}}, func(c *v1.Config) {
			c.Env = []string{"PATH=/bin", "A=1", "B=2", "C=3", "AA=4"}
		}},
		{"last of a variable's values counts", plan.Config{Env: []string{"C=3", "D=", "C=4=5"}}, func(c *v1.Config) {
			c.Env = []string{"PATH=/bin", "A=1", "B=2", "C=4=5", "D="}
		}},
		{"scalars", plan.Config{WorkingDir: "/w", User: "1:2", StopSignal: "SIGINT"}, func(c *v1.Config) {
			c.WorkingDir, c.User, c.StopSignal = "/w", "1:2", "SIGINT"
		}},
		{"labels", plan.Config{Labels: map[string]string{"l": "new", "empty": ""}}, func(c *v1.Config) {
			c.Labels = map[string]string{"l": "new", "kept": "yes", "empty": ""}
		}},
		{"ports", plan.Config{Ports: []string{"80/tcp", "53/udp"}}, func(c *v1.Config) {
			c.ExposedPorts = map[string]struct{}{"80/tcp": {}, "53/udp": {}}
		}},
		{"volumes", plan.Config{Volumes: []string{"/v"}}, func(c *v1.Config) {
			c.Volumes = map[string]struct{}{"/data": {}, "/v": {}}
		}},
		{"shell, triggers and arguments", plan.Config{Shell: []string{"/bin/bash", "-c"}, OnBuild: []string{"RUN y"}, ArgsEscaped: true}, func(c *v1.Config) {
			c.Shell, c.OnBuild, c.ArgsEscaped = []string{"/bin/bash", "-c"}, []string{"RUN y"}, true
		}},
		{"no triggers removes them", plan.Config{OnBuild: []string{}}, func(c *v1.Config) { c.OnBuild = nil }},
		{"health check", plan.Config{Healthcheck: &v1.HealthConfig{Test: []string{"NONE"}, Retries: 3}}, func(c *v1.Config) {
			c.Healthcheck = &v1.HealthConfig{Test: []string{"NONE"}, Retries: 3}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, want := baseConfig(), baseConfig()
			tt.want(&want)
			tt.config.Apply(&got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func everything() plan.Config {
	return plan.Config{
		Entrypoint: []string{"/app"}, Cmd: []string{"x"}, Env: []string{"A=9", "C=3"}, WorkingDir: "/w", User: "1:2",
		Labels: map[string]string{"l": "new"}, Ports: []string{"53/udp"}, Volumes: []string{"/v"}, StopSignal: "SIGINT",
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/app"}, Interval: time.Second},
	}
}

// A base without any configuration gets all of it.
func TestConfigApplyToNothing(t *testing.T) {
	var got v1.Config
	everything().Apply(&got)
	want := v1.Config{
		Entrypoint: []string{"/app"}, Cmd: []string{"x"}, Env: []string{"A=9", "C=3"}, WorkingDir: "/w", User: "1:2",
		Labels: map[string]string{"l": "new"}, ExposedPorts: map[string]struct{}{"53/udp": {}}, Volumes: map[string]struct{}{"/v": {}},
		StopSignal: "SIGINT", Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/app"}, Interval: time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// A variable that a base has twice is one afterwards: getenv of C takes the
// first, a shell the last.
func TestConfigApplyRepeatedVariable(t *testing.T) {
	got := v1.Config{Env: []string{"A=1", "B=2", "A=3", "AB=4", "A=5"}}
	plan.Config{Env: []string{"A=9"}}.Apply(&got)
	if diff := cmp.Diff([]string{"A=9", "B=2", "AB=4"}, got.Env); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
}

// Several images have one base and one plan: none writes into what another has.
func TestConfigApplyShares(t *testing.T) {
	base := baseConfig()
	config := everything()
	first, second, third := base, base, base
	config.Apply(&first)
	plan.Config{Env: []string{"Z=1"}, Ports: []string{"1/tcp"}, Labels: map[string]string{"z": "1"}, Volumes: []string{"/z"}}.Apply(&second)
	plan.Config{Env: []string{"Y=1"}}.Apply(&third)
	if diff := cmp.Diff(append(baseConfig().Env, "Z=1"), second.Env); diff != "" {
		t.Errorf("second image's env (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(baseConfig(), base); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
	want := baseConfig()
	config.Apply(&want)
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("first image (-want +got):\n%s", diff)
	}
	// What is done to an image afterwards does not reach the plan, either.
	first.Entrypoint[0], first.Cmd[0], first.Healthcheck.Test[1] = "!", "!", "!"
	first.Labels["l"] = "!"
	first.Env[0] = "!"
	if diff := cmp.Diff(everything(), config); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(baseConfig(), base); diff != "" {
		t.Errorf("base afterwards (-want +got):\n%s", diff)
	}
}
