"use strict";
drawPlots();
