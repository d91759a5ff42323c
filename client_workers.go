package shmkit

import (
	"context"
	"fmt"

	"shmkit/spawn"
)

// Start asks the node for workers, on behalf of this process: they are the node's,
// as if it had started them itself, but run on no processor that this process may
// not use. It returns the group's name and its workers. A Spec with Stdin is
// refused.
func (c *Client) Start(ctx context.Context, s Spec) (group string, workers []spawn.Info, err error) {
	if s.Stdin != nil {
		return "", nil, fmt.Errorf("shmkit: run %q: start: Spec.Stdin cannot be passed to the node: leave it out", c.run)
	}
	if s.Placement.Within == "" {
		if s.Placement.Within, err = spawn.OwnProcessors(); err != nil {
			return "", nil, err
		}
	}
	a, err := c.roundTrip(ctx, request{Op: opStart, Spec: &s})
	return a.Group, a.Infos, err
}

// StopWorkers stops a group as [Group.Stop] does, whoever started it.
func (c *Client) StopWorkers(ctx context.Context, group string) error {
	_, err := c.roundTrip(ctx, request{Op: opStop, Group: group})
	return err
}

// Resize changes the number of workers of a group, as [Group.Resize] does.
func (c *Client) Resize(ctx context.Context, group string, workers int) error {
	_, err := c.roundTrip(ctx, request{Op: opResize, Group: group, Workers: workers})
	return err
}

// Reload replaces the workers of a group one after the other, as [Group.Reload] does.
func (c *Client) Reload(ctx context.Context, group string, r spawn.Reload) error {
	_, err := c.roundTrip(ctx, request{Op: opReload, Group: group, Reload: &r})
	return err
}

// Wait returns when a group has ended: how each of its workers did, and what
// [Group.Wait] says. A group that has ended before is known if a Client started it.
// It uses the connection up.
func (c *Client) Wait(ctx context.Context, group string) ([]Exit, error) {
	a, err := c.roundTrip(ctx, request{Op: opWait, Group: group})
	return a.Exits, err
}
