// Signing in and out.

import { sign } from "./api.js";
import { at, on, write } from "./dom.js";

const SIGNED_IN = `tidemark-signed-in ${location.pathname}`;
// Storage may be forbidden.
export const kept = (work) => {
  try {
    return work(localStorage);
  } catch {
    return null;
  }
};

const reveal = (isOpen) => {
  at("sign-in").hidden = isOpen;
  at("main").hidden = at("time").hidden = at("facts").hidden = !isOpen;
  at("sign-out").hidden = !kept((storage) => storage.getItem(SIGNED_IN));
};

export const showSignedIn = () => reveal(true);

export const showSignedOut = () => {
  kept((storage) => storage.removeItem(SIGNED_IN));
  reveal(false);
  at("token").focus();
};

// `begin`: called once somebody is signed in; `handle`: with an error of signing out.
export const listen = (begin, handle) => {
  on(at("sign-in"), "submit", async (event) => {
    event.preventDefault();
    write(at("refused"), "");
    try {
      await sign("in", { token: at("token").value });
      at("token").value = "";
      kept((storage) => storage.setItem(SIGNED_IN, "yes"));
      begin();
    } catch (error) {
      write(at("refused"), error.status === 401 ? "Wrong token." : `Sign-in failed: ${error.message}.`);
    }
  });
  on(at("sign-out"), "click", async () => {
    await sign("out").catch(handle);
    location.reload();
  });
};
