package main

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// workshop is a plan and all that it takes to carry it out.
type workshop struct {
	cache    *cache.Cache
	client   *registry.Client
	compiler *compile.Compiler
	bases    *base.Resolver
	golang   *golang.Host
	progress progress
	outputs  []builder.Output
	plan     *plan.Plan
	// secrets and ssh are what RUNs may be given.
	secrets map[string][]byte
	ssh     map[string]string
	// sizes are those of the images that a Dockerfile names and that could be had.
	sizes map[string]int64
	// forget has nothing used that is remembered.
	forget bool
	// close ends the progress display and releases the cache.
	close func()
}

// prepare does what plan and build have in common: it reads the flags and
// makes the plan. Where that fails, everything is closed.
func (a *app) prepare(ctx context.Context, o *buildOptions, patterns []string) (_ *workshop, err error) {
	if err := o.dockerFlags.check(); err != nil {
		return nil, err
	}
	if err := o.planFlags.check(); err != nil {
		return nil, err
	}
	dir, err := a.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working directory: %w", err)
	}
	w := &workshop{}
	if err := o.readSecrets(a, dir, w); err != nil {
		return nil, err
	}
	if w.client, err = o.client(); err != nil {
		return nil, err
	}
	if w.progress, err = a.display(&o.commonFlags); err != nil {
		return nil, err
	}
	w.client.Progress = w.progress.Event
	w.close = w.progress.Close
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	c, release, err := a.usableCache(ctx, &o.commonFlags, w.progress.Event)
	if err != nil {
		return nil, err
	}
	w.close = func() { w.progress.Close(); release() }
	w.cache, w.forget = c, o.noCache
	w.compiler = a.compiler(&o.commonFlags, c, w.progress.Event)
	w.compiler.Forget = o.noCache
	w.bases = &base.Resolver{Registry: w.client, Cache: c, Dir: dir, Progress: w.progress.Event}
	if w.outputs, err = o.outputs(a, w); err != nil {
		return nil, err
	}
	front := &frontEnd{flags: &o.planFlags, dir: dir, getenv: a.Getenv, compiler: w.compiler, bases: w.bases}
	w.golang = &golang.Host{Env: w.compiler.Env, Offline: o.offline, Progress: w.progress.Event, Records: c, Packages: c.Links(), Forget: o.noCache}
	if o.given() {
		docker := &dockerFront{
			frontEnd: *front, docker: &o.dockerFlags, stdin: a.Stdin, golang: w.golang,
			progress: w.progress.Event, outputs: o.paths(), resolved: map[string]*v1.ConfigFile{}, sizes: map[string]int64{},
		}
		w.bases.Progress = docker.filter(w.progress.Event)
		w.plan, err = docker.plan(ctx, patterns)
		w.sizes = docker.sizes
	} else {
		w.plan, err = front.plan(ctx, patterns)
	}
	if err != nil {
		return nil, err
	}
	return w, o.checkPlan(w.plan)
}
