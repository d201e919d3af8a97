// Package podman runs the containers of PodmanV0 scores on the host's container
// engine: Podman 4.3 and later or Docker 20.10 and later, through the API that
// both serve on a unix socket.
//
// Labels mark what belongs to a Runtime, and say which deployment and service
// a container is and which spec it was made from. So nothing has to be handed
// over when the agent restarts, and nothing else on the host is ever touched.
// What labels cannot hold (the generation applied last, restart counts of
// earlier runs, which images were pulled) is kept in Options.StateDir; losing
// that file restarts nothing.
//
// The engine restarts services by itself, also while the agent is down. What
// it has given up on, or lost in a reboot, Apply starts again.
package podman
