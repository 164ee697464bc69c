// What every page shares. Each page works without it; a page's own script is a file of its own beside this.
"use strict";
