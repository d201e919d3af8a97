package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet-deploy/internal/site"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/bundle"
)

const bundleLong = `Write all charts and container images that a site needs into one file.

Charts come from where the site's file says, and images from their registries,
with the logins of docker on this machine, or from files. Neither the cluster nor
the files with the site's secrets are needed, and no secret gets into the file.

At the site, plan and apply take everything from the file with --bundle. Images
are put into the registry that the site names as images.registry, and the cluster
takes them from there by their digests.

A bundle that was carried is checked with --verify.`

// bundleCommand makes a bundle, or verifies one.
func (o *options) bundleCommand() *cobra.Command {
	var to, verify string
	var platforms, images []string
	command := &cobra.Command{
		Use:   "bundle",
		Short: "Write charts and images into one file, for a site without the Internet",
		Long:  bundleLong,
		Example: `  # Everything that the site needs, for all platforms that the images have
  fleet-deploy bundle -f site.yaml --to site.bundle

  # For nodes of one kind, which is smaller
  fleet-deploy bundle -f site.yaml --platform linux/arm64

  # With an operator that was built here and is in no registry
  fleet-deploy bundle -f site.yaml \
    --image dist/fleet-operator_0.1.0_amd64.oci.tar --image dist/fleet-operator_0.1.0_arm64.oci.tar

  # At the site
  fleet-deploy bundle --verify site.bundle
  fleet-deploy apply -f site.yaml --bundle site.bundle`,
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if verify != "" {
				return o.verify(command, verify)
			}
			options := bundle.Options{Platforms: platforms}
			for _, text := range images {
				image := bundle.LocalImage{Path: text}
				if reference, path, ok := strings.Cut(text, "="); ok {
					image = bundle.LocalImage{Reference: reference, Path: path}
				}
				options.Images = append(options.Images, image)
			}
			return o.makeBundle(command, to, options)
		},
	}
	o.describe(command)
	flags := command.Flags()
	flags.StringVar(&to, "to", "site.bundle", "the file to write")
	flags.StringSliceVar(&platforms, "platform", nil, "platforms of the images, such as linux/arm64; by default all that they have")
	flags.StringArrayVar(&images, "image", nil, "[REFERENCE=]FILE: an image in an OCI layout, instead of in its registry")
	flags.StringVar(&verify, "verify", "", "read this bundle, and say whether it is whole")
	return command
}

// bundling tells the progress of work on a bundle.
func (o *options) bundling(command *cobra.Command, path string) (note deploy.Progress, end func(error)) {
	observe := o.progress(command.ErrOrStderr()).Observe
	tell := func(state deploy.State, message string) {
		observe(deploy.Event{Score: "bundle", Target: path, State: state, Message: message})
	}
	tell(deploy.StateStarted, "")
	return func(note string) { tell(deploy.StateWorking, note) }, func(err error) {
		if err != nil {
			tell(deploy.StateFailed, "")
			return
		}
		tell(deploy.StateFinished, "")
	}
}

// fail tells of a failure where the result would be.
func (o *options) fail(command *cobra.Command, err error) error {
	if o.output == "text" {
		return withNext(err)
	}
	said := o.say(command, struct {
		Failure failure `json:"failure"`
	}{failure{Error: err.Error(), Next: deploy.Next(err)}}, "")
	return errors.Join(errSaid, said)
}

func (o *options) makeBundle(command *cobra.Command, to string, options bundle.Options) error {
	described, err := o.read(command)
	if err != nil {
		return err
	}
	releases, err := described.Releases(site.Environment{Getenv: o.getenv}, o.only)
	if err != nil {
		return &usageError{cause: fmt.Errorf("%s: %w", described.Name, err)}
	}
	note, end := o.bundling(command, to)
	options.Progress = note
	made, err := bundle.Make(command.Context(), to, releases, options)
	end(err)
	if err != nil {
		return o.fail(command, err)
	}
	return o.say(command, made, fmt.Sprintf("%s: %s, %s, %.1f MiB, %s", made.Path, count(len(made.Charts), "chart"),
		count(len(made.Images), "image"), float64(made.Size)/(1<<20), made.Digest))
}

func (o *options) verify(command *cobra.Command, path string) error {
	opened, err := bundle.Open(path)
	if err != nil {
		return o.fail(command, err)
	}
	defer opened.Close()
	note, end := o.bundling(command, path)
	err = opened.Verify(command.Context(), note)
	end(err)
	if err != nil {
		return o.fail(command, err)
	}
	return o.say(command, opened.Index, fmt.Sprintf("%s: it is whole: %s, %s", path,
		count(len(opened.Index.Charts), "chart"), count(len(opened.Index.Images), "image")))
}

// say prints a result as text or as JSON.
func (o *options) say(command *cobra.Command, result any, text string) error {
	if o.output == "text" {
		_, err := fmt.Fprintln(command.OutOrStdout(), text)
		return err
	}
	encoder := json.NewEncoder(command.OutOrStdout())
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(result)
}
