#pragma once

/*
 * Tells the service manager that started us how we are (the datagram of sd_notify(3) to the socket
 * in $NOTIFY_SOCKET): "READY=1", "STOPPING=1", "STATUS=text". 1: told; 0: nobody asked; -1 with
 * errno. Not for a child that must not speak for the service.
 */
int notify_send(const char *state);
